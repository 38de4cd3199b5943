"""The registered champion behind MLflow's own scoring server."""

import base64
import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from flows.support.promotion import promote
from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.records.base import RunReference
from tasks.shared.model_size import to_model_size
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tasks.tracking import registry, runs
from tests.conftest import CHECKOUT
from tests.e2e.network import require_bounded, require_own_pages_only
from tests.e2e.services import wait_for
from tests.hostile.poison import poisoned_graph
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e

STATISTICS = {"mean": [0.57], "std": [0.17]}
TEMPERATURE = 1.6


@pytest.fixture(scope="module")
def classifier(shared_outputs):
    """A registered champion, whose probabilities are no constants."""
    runs.prepare()
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    run = RunReference(run_id=client.create_run(experiment).info.run_id)
    model = build_classifier("resnet18_gray", seed=3).eval()
    model.head.weight.data *= 30
    card = {
        "architecture": "resnet18_gray", "classes": 2, "channels": 1, "labels": ["normal", "pneumonia"],
        "image_size": 28, "normalization": STATISTICS, "dataset": "pneumoniamnist", "dataset_sha256": "d",
        "weights_sha256": "w", "licence": "CC BY 4.0", "intended_use": "Research.", "temperature": TEMPERATURE,
        "threshold": 0.5, "validation": {}, "phantoms": False, "limited": False,
    }  # fmt: skip
    package = Store().put(weights.dump(model, card), "application/x-safetensors")
    version = registry.register(run, "pneumonia-classifier", package)
    promote(run, version, lambda stored: (True, ""))
    folder = urllib.parse.urlsplit(client.get_model_version_download_uri(version.name, str(version.version))).path
    (Path(folder) / "data" / "model.pt2").write_bytes(poisoned_graph(shared_outputs / "marker"))  # not to be read
    return model


@pytest.fixture(scope="module")
def address(classifier, shared_outputs, server_logs):
    server_logs.watch(shared_outputs / "serving.log")
    port = free_port()
    program, *options = _documented()
    assert program == ".venv/bin/python"  # which `make` makes; these tests run in an environment of any name
    command = [sys.executable, *options[:-1], str(port)]
    environment = os.environ | {"PATH": os.defpath}  # as where the environment is not activated
    environment.pop("VIRTUAL_ENV", None)
    with (shared_outputs / "serving.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:

        def answers():
            assert server.poll() is None, (shared_outputs / "serving.log").read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=60):
                return True

        wait_for(answers)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, 15)
        server.wait(120)


def _documented():
    """Take the words of the command from the page that tells it; the last is the port."""
    page = (CHECKOUT / "docs" / "classification.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if "-m deployments.local.serving" in line)
    words = shlex.split(line, comments=True)
    assert words[-2] == "--port"
    return words


def _ask(address, inputs):
    request = urllib.request.Request(
        address, json.dumps({"inputs": inputs}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)["predictions"]


def _refusal(address, inputs):
    with pytest.raises(urllib.error.HTTPError) as refused:
        _ask(address, inputs)
    assert refused.value.code == 400
    answer = json.load(refused.value)
    assert answer.keys() == {"error_code", "message"}
    return answer["message"]


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def _expected(classifier, images):
    logits = predict(classifier, images, Normalization(**STATISTICS)).logits
    return calibrated_probabilities(logits, TEMPERATURE)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("form", [np.ndarray.tolist, lambda images: [_png(image) for image in images]])
def test_a_request_is_answered_with_the_probabilities_of_predict_by_class(address, classifier, count, form):
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    expected = _expected(classifier, images)
    answered = _ask(address, form(images))
    assert [list(row) for row in answered] == [["normal", "pneumonia"]] * count
    found = np.array([list(row.values()) for row in answered])
    np.testing.assert_allclose(found, np.stack([1 - expected, expected], axis=1), atol=1e-5)
    assert expected.min() > 0.01
    assert expected.max() < 0.99


def test_the_registered_graph_is_not_read_since_pytorch_unpickles_it(address, shared_outputs):
    _ask(address, np.zeros((1, 28, 28)).tolist())
    assert not (shared_outputs / "marker").exists()


def test_a_file_of_another_size_is_cropped_and_resized_as_a_search_does(address, classifier):
    picture = np.random.default_rng(0).integers(0, 256, (90, 61), dtype=np.uint8)
    (answered,) = _ask(address, [f"data:image/png;base64,{_png(picture)}"])
    assert answered["pneumonia"] == pytest.approx(_expected(classifier, to_model_size(picture, 28)[None])[0], abs=1e-5)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (np.zeros((2, 30, 30)).tolist(), "The input has the shape (2, 30, 30): expected pixels from 0 to 255 in the "),
        ([[["x"] * 28] * 28], "The input holds other values than numbers: expected pixels from 0 to 255 in the shape "),
        ([[[True] * 28] * 28], "The input holds other values than numbers"),
        ([[[None] * 28] * 28], "The input holds other values than numbers"),
        ([], "The input has the shape (0,)"),
        ({"image": [0]}, "Give the images as a list"),
        (["no base64"], "Image 0 is not base64"),
        ([base64.b64encode(b"no image").decode()], "Image 0 is"),
        ([_png(np.zeros((28, 28), np.uint8)), _png(np.zeros((28, 28), np.uint8))[:40]], "Image 1 cannot be read"),
        (
            np.full((1, 28, 28), 300).tolist(),
            "Image 0 has the pixel 300 at [0, 0]: pixels are whole numbers from 0 to ",
        ),
        (np.full((1, 28, 28), -1).tolist(), "Image 0 has the pixel -1 at [0, 0]"),
        (np.full((1, 28, 28), np.nan).tolist(), "Image 0 has the pixel nan at [0, 0]"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(address, inputs, told):
    message = _refusal(address, inputs)
    assert message.startswith(told)
    assert len(message) <= 300
    assert "\n" not in message


def test_an_image_that_was_scaled_is_refused_and_names_itself(address):
    stored = np.random.default_rng(0).integers(0, 256, (28, 28))
    stored[0, 0] = 255
    scaled = stored / 255
    scaled[0, 1] = 0.25
    message = _refusal(address, [stored.tolist(), scaled.tolist()])
    assert message.startswith("Image 1 has the pixel 0.25 at [0, 1]: pixels are whole numbers from 0 to 255")


def test_pages_of_other_sites_and_bodies_that_fill_the_memory_are_refused(address):
    server = address.removesuffix("/invocations")
    require_own_pages_only(server, "/ping")
    require_bounded(server, "/invocations")
