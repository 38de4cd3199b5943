"""The served classifier as an ONNX graph, which runs without PyTorch.

Source: https://onnx.ai/onnx/intro; exported by PyTorch's `torch.export`, run by ONNX Runtime.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier.serving import ServedClassifier

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime 1.32 keeps a number of the machine and reports
INPUT, OUTPUT = "images", "probabilities"
CARD = "card"
"""Name in the metadata of the graph under which the classifier's card stands, as JSON."""
OPSET = 18  # of 2022, so that older runtimes read it too


def export_onnx(served: ServedClassifier, card: Mapping[str, Any]) -> bytes:
    """Export a classifier with its preprocessing and its temperature, for any number of images.

    Args:
        served: the classifier, which is no probe: the weights of an encoder stay where their licence has them.
        card: what the user must know, as JSON values; its `image_size` is the side of an image in pixels.

    Returns:
        The graph. It takes `images` and gives `probabilities`, both as `ServedClassifier.forward` does.
    """
    channels = () if served.model.channels == 1 else (served.model.channels,)
    size = card["image_size"]
    images = torch.zeros(2, size, size, *channels)  # one image would freeze the size of the batch
    program = torch.onnx.export(
        served,
        (images,),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={"images": {0: torch.export.Dim("count")}},
    )
    assert program is not None
    model = program.model
    for node in model.graph.all_nodes():  # each names the lines of code that it comes from, with their paths
        node.metadata_props.clear()
        node.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.metadata_props.clear()
    model.metadata_props[CARD] = json.dumps(card, sort_keys=True)
    return bytes(program.model_proto.SerializeToString(deterministic=True))


def onnx_probabilities(payload: bytes, images: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """Run an exported classifier on the CPU.

    Args:
        payload: of `export_onnx`.
        images: as `ServedClassifier.forward` takes them, shape (images, height, width) or (images, height, width, 3).
        batch: images at once, which bounds memory.

    Returns:
        Probabilities, shape (images, classes).
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    parts = [
        session.run([OUTPUT], {INPUT: images[start : start + batch].astype(np.float32)})[0]
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)
