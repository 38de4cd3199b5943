"""Registration on a real SQLite store, with real networks."""

import json
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.errors import InputError
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.records.base import RunReference, StoredFile
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tasks.tracking import registry, runs

pytestmark = pytest.mark.usefixtures("shared_outputs")


@pytest.fixture
def name():
    """A registered model of its own for each test: a registry of its own would take its schema's seconds each time."""
    return f"{uuid.uuid4().hex}-classifier"


@pytest.fixture(scope="module")
def client(shared_outputs):
    runs.prepare()
    return MlflowClient(tracking_uri())


def package(seed=0, classes=2, channels=1, **card) -> StoredFile:
    model = build_classifier("compact28", classes=classes, channels=channels, seed=seed).eval()
    facts = {
        "architecture": "compact28", "classes": classes, "channels": channels,
        "labels": [f"class {index}" for index in range(classes)], "image_size": 28,
        "normalization": {"mean": [0.5] * channels, "std": [0.25] * channels}, "dataset": "pneumoniamnist",
        "dataset_sha256": "d1", "weights_sha256": f"w{seed}", "licence": "CC BY 4.0", "intended_use": "Research.",
        "temperature": 1.5, "threshold": 0.5, "validation": {"auc": 0.99}, "phantoms": False, "limited": False,
    }  # fmt: skip
    return Store().put(weights.dump(model, facts | card), "application/x-safetensors")


@pytest.fixture
def run(client):
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    return lambda: RunReference(run_id=client.create_run(experiment).info.run_id)


def test_the_names_of_registered_models():
    assert registry.registered_name("pneumoniamnist") == "pneumonia-classifier"
    assert registry.registered_name("bloodmnist") == "bloodmnist-classifier"


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (3, 3)])
def test_both_forms_of_a_version_say_what_predict_says(client, run, name, monkeypatch, classes, channels):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    stored, reference = package(classes=classes, channels=channels), run()
    version = registry.register(reference, name, stored)
    location = client.get_model_version_download_uri(name, str(version.version))
    folder = Path(mlflow.artifacts.download_artifacts(location, tracking_uri=tracking_uri()))

    payload = (folder / registry.PACKAGE).read_bytes()
    assert payload == Store().get(stored)
    model, card = weights.load(payload)
    assert json.loads((folder / registry.CARD).read_text()) == card
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, channels), dtype=np.uint8)
    images = images[..., 0] if channels == 1 else images
    expected = calibrated_probabilities(predict(model, images, Normalization(**card["normalization"])).logits, 1.5)
    expected = np.stack([1 - expected, expected], axis=1) if classes == 2 else expected

    served = mlflow.pyfunc.load_model(str(folder))
    for count in (1, 2, 5):  # the size of the batch is not frozen
        np.testing.assert_allclose(served.predict(images[:count].astype(np.float32)), expected[:count], atol=1e-5)
    assert served.predict(images.astype(np.float32)).dtype == np.float32
    assert served.metadata.metadata == card
    assert served.metadata.signature.inputs.inputs[0].shape == (-1, *images.shape[1:])
    with pytest.raises(mlflow.exceptions.MlflowException):
        served.predict(np.zeros((2, 30, 30), np.float32))
    assert [path.name for path in (folder / "data").iterdir()] == ["model.pt2"]


def test_a_version_is_tagged_with_what_it_is_and_linked_with_its_run(client, run, name):
    reference, stored = run(), package(threshold=0.25, training={"seed": 7}, validation={"auc": 0.98765, "f1": 0.5})
    registered = registry.register(reference, name, stored, 0.123456)
    (version,) = registry.versions(name)
    assert version == registered
    assert version.run_id == reference.run_id
    entry = client.get_model_version(name, "1")
    assert entry.tags == {"val/auc": "0.9877", "val/log_loss": "0.1235", "dataset.name": "pneumoniamnist", "seed": "7"}
    assert version.tags.items() >= {
        "package.sha256": stored.sha256, "weights.sha256": "w0", "dataset.name": "pneumoniamnist",
        "dataset.sha256": "d1", "temperature": "1.5", "threshold": "0.25", "phantoms": "false", "limited": "false",
    }.items()  # fmt: skip
    for said in ("Research.", "CC BY 4.0", "compact28", "0.2500", "| f1 | 0.500 |", stored.sha256):
        assert said in entry.description
    logged = client.get_run(reference.run_id)
    assert logged.data.tags["registry.version"] == f"{name}/1"
    (output,) = logged.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.status == "READY"
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": name, "version": "1"}]
    assert mlflow.active_run() is None
    assert not Path("mlflow.db").exists()  # MLflow's default store, which a global client would make


def test_the_same_package_is_registered_once(client, run, name, monkeypatch):
    first, again, other = run(), run(), run()
    assert registry.register(first, name, package()).version == 1
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_register", None)  # what exports and uploads, which takes seconds
        assert registry.register(first, name, package()).version == 1
        assert registry.register(again, name, package()).version == 1
    assert client.get_run(again.run_id).data.tags["registry.version"] == f"{name}/1"
    assert registry.register(other, name, package(threshold=0.4)).version == 2  # the operating point belongs to it
    assert len(client.get_run(first.run_id).outputs.model_outputs) == 1


def test_a_version_shows_six_tags_and_its_run_that_it_is_the_champion(client, run, name):
    first, second = (registry.register(run(), name, package(seed, training={"seed": seed}), 0.5) for seed in (0, 1))
    for version in (first, second):
        registry.set_tag(version, "promotion.reason", "why")
        registry.set_tag(version, "promotion.withdrawn", "false")  # for programs
        registry.mark_champion(version, registry.versions(name))
        registry.mark_champion(version, registry.versions(name))
    shown = [set(client.get_model_version(name, str(version.version)).tags) for version in (first, second)]
    assert shown == [set(registry.SHOWN) - {"champion.since"}, set(registry.SHOWN)]
    assert len(registry.SHOWN) == 6
    marks = [client.get_run(version.run_id).data.tags.get("champion") for version in (first, second)]
    assert marks == [None, "★ v2"]
    assert all(version.tags["promotion.withdrawn"] == "false" for version in registry.versions(name))


def test_a_version_that_was_registered_with_everything_in_its_tags_is_used_as_before(client, run, name):
    """As versions were before their tags were six."""
    reference, stored = run(), package()
    version = registry.register(reference, name, stored)
    old = dict(version.tags) | {"val/auc": "0.99", "promotion.withdrawn": "true", "licence": "CC BY 4.0"}
    old.pop("registry.name")
    for tag in client.get_logged_model(version.model_id).tags:
        if not tag.startswith("mlflow."):
            client.delete_logged_model_tag(version.model_id, tag)
    for tag, value in old.items():
        client.set_model_version_tag(name, "1", tag, value)
    (found,) = registry.versions(name)
    assert (found.model_id, found.tags) == (None, old)
    assert registry.read_package(found) == stored
    assert registry.register(run(), name, stored).version == 1
    registry.set_tag(found, "promotion.withdrawn", "false")
    assert registry.versions(name)[0].tags["promotion.withdrawn"] == "false"


def test_a_failed_export_leaves_no_version_and_says_so(client, run, name):
    reference = run()
    with pytest.raises(InputError, match="temperature"):
        registry.register(reference, name, package(temperature="warm"))
    assert client.search_model_versions(f"name = '{name}'") == []
    models = client.search_logged_models([client.get_run(reference.run_id).info.experiment_id])
    assert [model.status for model in models if model.source_run_id == reference.run_id] == ["FAILED"]
