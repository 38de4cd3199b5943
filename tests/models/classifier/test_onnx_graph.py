"""The ONNX graph beside the classifier that it was made of."""

import ast
import json
import os
import re
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from models.classifier.classifiers import build_classifier
from models.classifier.onnx_graph import CARD, export_onnx, onnx_probabilities
from models.classifier.preprocessing import Normalization
from models.classifier.serving import ServedClassifier
from tests.conftest import CHECKOUT

FACTS = {"image_size": 28, "labels": ["normal", "pneumonia"], "intended_use": "Forschung für alle"}


@pytest.fixture(scope="module")
def served():
    return ServedClassifier(build_classifier("compact28", seed=1).eval(), Normalization((0.57,), (0.17,)), 0.6)


@pytest.fixture(scope="module")
def graph(served):
    return export_onnx(served, FACTS)


def test_any_number_of_images_has_the_probabilities_of_the_classifier_and_others_have_none(served, graph):
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    with torch.inference_mode():
        expected = served(torch.from_numpy(images)).numpy()
    for batch in (1, 3, 64):
        np.testing.assert_allclose(onnx_probabilities(graph, images, batch), expected, atol=1e-6)
    assert np.isnan(onnx_probabilities(graph, images / 255)).all()


def test_it_holds_the_card_and_no_path_of_the_machine(graph):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map[CARD]) == FACTS
    for trace in (str(CHECKOUT), "site-packages", "serving.py"):
        assert trace.encode() not in graph


def test_a_run_of_it_leaves_nothing_for_those_who_made_the_runtime(graph, tmp_path):
    (tmp_path / "classifier.onnx").write_bytes(graph)
    code = """if True:
        import numpy, pathlib
        from models.classifier.onnx_graph import onnx_probabilities
        graph = pathlib.Path("classifier.onnx").read_bytes()
        assert onnx_probabilities(graph, numpy.zeros((1, 28, 28), numpy.uint8)).shape == (1, 2)
    """
    kept = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    subprocess.run([sys.executable, "-c", code], env=kept | own, cwd=tmp_path, check=True)
    left = [file for file in tmp_path.rglob("*") if file.name == ".ses" or "onnxruntime" in str(file)]
    assert not left


def test_the_example_in_the_documents_says_what_the_classifier_says(served, graph, tmp_path, monkeypatch, capsys):
    page = (CHECKOUT / "docs" / "classification.md").read_text(encoding="utf-8")
    (code,) = (each for each in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "onnxruntime" in each)
    image = np.random.default_rng(3).integers(0, 256, (28, 28), dtype=np.uint8)
    (tmp_path / "classifier.onnx").write_bytes(graph)
    Image.fromarray(image).save(tmp_path / "xray.png")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    with torch.inference_mode():
        (expected,) = served(torch.from_numpy(image[None])).tolist()
    assert ast.literal_eval(capsys.readouterr().out) == dict(
        zip(FACTS["labels"], (round(value, 3) for value in expected), strict=True)
    )
