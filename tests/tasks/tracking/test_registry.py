"""Registration and promotion on a real SQLite store, with real networks."""

import json
import threading
import time
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


def _better(package):
    return True, "It is better."


def _worse(package):
    return False, "It is not better."


def _never(package):
    raise AssertionError("There is nothing to compare.")


def _aliases(client, name):
    return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}


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
    reference, stored = run(), package(threshold=0.25)
    registry.register(reference, name, stored)
    (version,) = registry.versions(name)
    assert version.run_id == reference.run_id
    assert version.tags == {
        "package.sha256": stored.sha256, "weights.sha256": "w0", "dataset.name": "pneumoniamnist",
        "dataset.sha256": "d1", "temperature": "1.5", "threshold": "0.25", "val/auc": "0.99", "licence": "CC BY 4.0",
        "intended_use": "Research.", "phantoms": "false", "limited": "false",
    }  # fmt: skip
    logged = client.get_run(reference.run_id)
    assert logged.data.tags["registry.version"] == f"{name}/1"
    (output,) = logged.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.status == "READY"
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": name, "version": "1"}]
    assert mlflow.active_run() is None
    assert not Path("mlflow.db").exists()  # MLflow's default store, which a global client would make


def test_the_same_package_is_registered_once(client, run, name):
    first, again, other = run(), run(), run()
    assert registry.register(first, name, package()).version == 1
    started = time.monotonic()
    assert registry.register(first, name, package()).version == 1
    assert registry.register(again, name, package()).version == 1
    assert time.monotonic() - started < 2
    assert client.get_run(again.run_id).data.tags["registry.version"] == f"{name}/1"
    assert registry.register(other, name, package(threshold=0.4)).version == 2  # the operating point belongs to it
    assert len(client.get_run(first.run_id).outputs.model_outputs) == 1


def test_the_first_becomes_champion_and_only_a_better_one_replaces_it(client, run, name):
    references = [run() for _ in range(3)]
    first, second, third = (registry.register(references[seed], name, package(seed)) for seed in range(3))
    decision = registry.promote(references[0], first, _never)
    assert (decision.promoted, decision.champion) == (True, 1)
    assert _aliases(client, name) == {"champion": 1}

    seen = []
    decision = registry.promote(references[1], second, lambda stored: (seen.append(stored), _worse(stored))[1])
    assert (decision.promoted, decision.champion, decision.reason) == (False, 1, "It is not better.")
    assert _aliases(client, name) == {"champion": 1}
    assert seen[0].sha256 == package(0).sha256  # the champion's own weights

    assert registry.promote(references[2], third, _better).champion == 3
    assert _aliases(client, name) == {"champion": 3, "previous": 1}
    reasons = {version.version: version.tags["promotion.reason"] for version in registry.versions(name)}
    assert reasons == {
        1: "Replaced by version 3. It is better.", 2: "It is not better.", 3: "It is better.",
    }  # fmt: skip
    assert client.get_run(references[2].run_id).data.tags["promotion.reason"] == "It is better."

    (third,) = [version for version in registry.versions(name) if version.version == 3]
    again = registry.promote(run(), third, _never)
    assert (again.promoted, again.champion) == (False, 3)
    assert registry.versions(name)[0].tags["promotion.reason"] == "It is better."


@pytest.mark.parametrize("card", [{"phantoms": True}, {"limited": True}])
def test_phantoms_and_tries_never_make_a_champion(client, run, name, card):
    reference = run()
    decision = registry.promote(reference, registry.register(reference, name, package(**card)), _never)
    assert (decision.promoted, decision.champion) == (False, None)
    assert _aliases(client, name) == {}
    assert registry.versions(name)[0].tags["promotion.reason"] == decision.reason


def test_a_champion_of_other_data_is_not_compared(client, run, name):
    reference = run()
    registry.promote(reference, registry.register(reference, name, package(0)), _never)
    other = registry.register(reference, name, package(1, dataset_sha256="d2"))
    decision = registry.promote(reference, other, _never)
    assert (decision.promoted, decision.champion) == (False, 1)
    assert "another dataset" in decision.reason
    assert "--champion.version 2" in decision.reason
    assert _aliases(client, name) == {"champion": 1}


def test_a_champion_whose_file_is_gone_or_damaged_stays_and_ends_no_run(client, run, name):
    reference = run()
    registry.promote(reference, registry.register(reference, name, package(0)), _never)
    challenger = registry.register(reference, name, package(1))
    location = client.get_model_version_download_uri(name, "1").removeprefix("file://")
    Path(location, registry.PACKAGE).write_bytes(b"damaged")
    assert "cannot be read" in registry.promote(reference, challenger, _never).reason
    with pytest.raises(InputError, match=r"Version 1 of .* cannot be read from MLflow \(.*digest.*\): choose another"):
        registry.choose(name, "champion")
    Path(location, registry.PACKAGE).unlink()
    assert "cannot be read" in registry.promote(reference, challenger, _never).reason
    assert _aliases(client, name) == {"champion": 1}


def test_of_two_promotions_at_once_the_second_meets_the_first_as_champion(client, run, name):
    reference = run()
    registry.promote(reference, registry.register(reference, name, package(0)), _never)
    met = {}

    def contend(version):
        def judge(stored):
            met[version.version] = stored.sha256
            time.sleep(0.5)
            return _better(stored)

        registry.promote(reference, version, judge)

    challengers = [registry.register(reference, name, package(seed)) for seed in (1, 2)]
    threads = [threading.Thread(target=contend, args=(version,)) for version in challengers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    champion = _aliases(client, name)["champion"]
    before = ({2, 3} - {champion}).pop()
    assert _aliases(client, name) == {"champion": champion, "previous": before}
    assert met == {before: package(0).sha256, champion: package(before - 1).sha256}


def test_an_older_version_is_restored_and_the_replaced_one_stays_replaced(client, run, name):
    reference = run()
    for seed in (0, 1):
        registry.promote(reference, registry.register(reference, name, package(seed)), _better)
    decision = registry.restore(name, "previous", "it missed cases")
    assert (decision.promoted, decision.champion) == (True, 1)
    assert _aliases(client, name) == {"champion": 1, "previous": 2}
    assert "Set by hand: it missed cases" in registry.versions(name)[0].tags["promotion.reason"]
    repeated = registry.register(run(), name, package(1))
    assert "replaced by hand" in registry.promote(reference, repeated, _never).reason
    assert registry.restore(name, "2", "it did not").champion == 2
    assert not registry.restore(name, "2", "again").promoted
    assert _aliases(client, name) == {"champion": 2, "previous": 1}


def test_what_cannot_be_restored_is_one_sentence(client, run, name):
    with pytest.raises(InputError, match="No classifier is registered as"):
        registry.restore(name, "1", "why")
    registry.register(run(), name, package(phantoms=True))
    with pytest.raises(InputError, match=r"has no version '7'; choose one of: 1\."):
        registry.restore(name, "7", "why")
    with pytest.raises(InputError, match="drawn phantoms"):
        registry.restore(name, "1", "why")


def test_a_failed_export_leaves_no_version_and_says_so(client, run, name):
    reference = run()
    with pytest.raises(TypeError):
        registry.register(reference, name, package(temperature="warm"))
    assert client.search_model_versions(f"name = '{name}'") == []
    models = client.search_logged_models([client.get_run(reference.run_id).info.experiment_id])
    assert [model.status for model in models if model.source_run_id == reference.run_id] == ["FAILED"]


def test_the_champion_or_the_version_of_a_run_is_chosen_with_its_package(client, run, name):
    first, second = run(), run()
    for reference, seed in ((first, 0), (second, 1)):
        version = registry.register(reference, name, package(seed))
        registry.promote(reference, version, _worse)
    for wanted, seed in (("champion", 0), (first.run_id, 0), (second.run_id, 1)):
        version, stored = registry.choose(name, wanted)
        assert version.version == seed + 1
        assert stored == package(seed)


def test_what_cannot_be_chosen_is_one_sentence(client, run, name):
    with pytest.raises(InputError, match=f"No classifier is registered as '{name}'"):
        registry.choose(name, "champion")
    registry.promote(run(), registry.register(run(), name, package(limited=True)), _never)
    with pytest.raises(InputError, match="is its champion yet"):
        registry.choose(name, "champion")
    with pytest.raises(InputError, match="There is no MLflow run 'nothing'"):
        registry.choose(name, "nothing")
    other = run()
    with pytest.raises(InputError, match=f"run {other.run_id} registered no version of {name}"):
        registry.choose(name, other.run_id)
