"""Served images: the ONNX graph beside the graph of PyTorch (pt2) that `mlflow models serve` runs."""

import time
from statistics import median

import numpy as np
import onnxruntime
import torch

from models.classifier.classifiers import build_classifier
from models.classifier.onnx_graph import INPUT, OUTPUT, export_onnx
from models.classifier.preprocessing import Normalization
from models.classifier.serving import ServedClassifier
from tests.benchmarks.comparison import Comparison

REPEATS = 15


def measure() -> list[Comparison]:
    """Measure the default network, one image and 64 at once, with the threads that PyTorch has."""
    model = build_classifier("ensemble28", seed=0).eval()
    served = ServedClassifier(model, Normalization(mean=(0.57,), std=(0.17,)), 1.0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    graph = export_onnx(served, {"image_size": 28})
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    count = {"images": {0: torch.export.Dim("count")}}
    pt2 = torch.export.export(served, (torch.zeros(2, 28, 28),), dynamic_shapes=count).module()
    found = []
    for images in (1, 64):
        pixels = np.random.default_rng(0).integers(0, 256, (images, 28, 28)).astype(np.float32)
        tensor, ours, reference = torch.from_numpy(pixels), [], []
        for _ in range(REPEATS + 1):  # the first warms both
            started = time.perf_counter()
            session.run([OUTPUT], {INPUT: pixels})
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            with torch.inference_mode():
                pt2(tensor)
            reference.append(time.perf_counter() - started)
        name = f"ONNX graph, ensemble28, {images} image{'s' * (images > 1)}"
        found.append(Comparison(name, median(ours[1:]), median(reference[1:]), "pt2 by PyTorch", 1.0))
    return found
