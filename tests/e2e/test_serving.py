"""The registered champion behind MLflow's own scoring server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from mlflow import MlflowClient

from flows.support.promotion import promote
from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.records.base import RunReference
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tasks.tracking import registry, runs
from tests.conftest import CHECKOUT

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
    return model


@pytest.fixture(scope="module")
def address(classifier, shared_outputs, server_logs):
    server_logs.watch(shared_outputs / "serving.log")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "deployments.local.serving", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"PATH": os.defpath}  # as where the environment is not activated
    with (shared_outputs / "serving.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                    break
            except OSError:
                assert server.poll() is None, (shared_outputs / "serving.log").read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _ask(address, inputs):
    request = urllib.request.Request(
        address, json.dumps({"inputs": inputs}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["predictions"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_request_is_answered_with_the_probabilities_of_predict(address, classifier, count):
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    logits = predict(classifier, images, Normalization(**STATISTICS)).logits
    expected = calibrated_probabilities(logits, TEMPERATURE)
    answered = np.array(_ask(address, images.tolist()))
    np.testing.assert_allclose(answered, np.stack([1 - expected, expected], axis=1), atol=1e-5)
    assert expected.min() > 0.01
    assert expected.max() < 0.99


@pytest.mark.parametrize("inputs", [np.zeros((2, 30, 30)).tolist(), [[["x"] * 28] * 28]])
def test_what_is_no_image_is_refused(address, inputs):
    with pytest.raises(urllib.error.HTTPError) as refused:
        _ask(address, inputs)
    assert refused.value.code == 400


def test_an_image_that_was_scaled_is_not_answered_as_a_black_one(address):
    stored = np.random.default_rng(0).integers(0, 256, (28, 28))
    answered = _ask(address, [(stored / 255).tolist(), stored.tolist()])
    assert np.isnan(answered[0]).all()
    assert sum(answered[1]) == pytest.approx(1, abs=1e-6)
