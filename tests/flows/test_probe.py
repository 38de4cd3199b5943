"""A probe through everything that a classifier goes through, on a small checkpoint of RAD-DINO's class."""

import json
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient, artifacts, pyfunc
from mlflow.exceptions import MlflowException
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flows.cases import cases
from flows.classification import classification
from flows.retrieval import retrieval
from flows.search import search
from flows.support.shell import main
from models.classifier.weights import load
from models.encoders.rad_dino import RadDino
from models.notices import RANDOM_ENCODER_NOTICE
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tasks.tracking import registry
from tests.flows.small import CLASSIFICATION, RETRIEVAL, executed, run_flow
from tests.models.encoders.twins import mark_as_random, write_rad_dino
from tests.support.model_cards import assert_every_figure_is_a_metric

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")
SIZES = {"train": 120, "val": 64, "test": 48}
OWN = {"fit-probe", "predict-probe", "embed-shard"}


def client():
    return MlflowClient(tracking_uri())


@pytest.fixture(scope="module")
def dataset(official_file, tmp_path_factory):
    """A whole dataset of its own, so that its classifier is registered."""
    with np.load(official_file) as arrays:
        few = {
            f"{split}_{kind}": arrays[f"{split}_{kind}"][:size]
            for split, size in SIZES.items()
            for kind in ("images", "labels")
        }
    path = tmp_path_factory.mktemp("dataset") / "few.npz"
    np.savez(path, **few)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return mark_as_random(write_rad_dino(tmp_path_factory.mktemp("rad_dino")))


@pytest.fixture(scope="module")
def words(dataset, folder):
    return [
        "--dataset.path", str(dataset), "--dataset.limit", "None", "--evaluation.label_folds", "0",
        "--training.architecture", "probe", "--training.encoder", "rad_dino", "--training.pretrained", str(folder),
        "--evaluation.corrupted_images", "2",  # left out, since the encoder runs on a CPU
    ]  # fmt: skip


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, words):
    return run_flow(classification, [*CLASSIFICATION, *words])


def test_its_probabilities_are_those_of_scikit_learn_on_the_same_features(first, dataset, folder):
    result, steps = first
    assert OWN | {"explain-classifier", "check-explanation", "package-classifier"} <= executed(steps)
    assert not {"train-classifier", "predict-classifier", "predict-corrupted"} & executed(steps)
    with np.load(dataset) as arrays:
        splits = dict(arrays)
    kept = np.delete(np.arange(SIZES["train"]), result.dataset.excluded_train)
    encoder = RadDino(RadDino.resolve(str(folder)))
    features = {split: encoder.encode_images(splits[f"{split}_images"]).astype(np.float64) for split in SIZES}
    regression = LogisticRegression(C=result.classifier.probe.strength, class_weight="balanced", max_iter=5000)
    plain = make_pipeline(StandardScaler(), regression)
    plain.fit(features["train"][kept], splits["train_labels"][kept].ravel())

    outputs = Store().get_arrays(result.predictions.outputs)
    for split in ("val", "test"):
        found = calibrated_probabilities(outputs[f"{split}_logits"], 1.0)
        np.testing.assert_allclose(found, plain.predict_proba(features[split])[:, 1], atol=1e-4)
        np.testing.assert_allclose(outputs[f"{split}_embeddings"], features[split], atol=1e-5)
    assert len(outputs["train_embeddings"]) == len(kept)


def test_the_run_says_what_it_stands_on_and_that_this_was_never_trained(first, folder, tmp_path):
    result, _ = first
    assert result.classifier.title == "probe on rad_dino with random weights"
    tracker = client()
    run = tracker.get_run(result.run.run_id)
    assert run.data.params["training.architecture"] == "probe"
    assert run.data.params["encoder"] == "rad_dino"
    assert run.data.tags["encoder.identity"] == result.classifier.encoder.identity
    assert run.data.tags["random_weights"] == RANDOM_ENCODER_NOTICE
    assert run.data.metrics["probe/c"] == pytest.approx(result.classifier.probe.strength)
    figures = {file.path.split("/")[1] for file in tracker.list_artifacts(result.run.run_id, "figures")}
    assert {"regularisation.png", "grad_cam.png", "conformal_coverage.png", "grad_cam_randomisation.png"} <= figures
    assert "training_curves.png" not in figures
    with open(tracker.download_artifacts(result.run.run_id, "report.md", str(tmp_path)), encoding="utf-8") as file:
        report = file.read()
    assert f"logistic regression on the frozen encoder {result.classifier.encoder.identity}" in report
    assert RANDOM_ENCODER_NOTICE in report
    assert f"C = {result.classifier.probe.strength:.2g} of 15" in report
    assert result.explanation.shapes["maps"] == (SIZES["test"], 28, 28)


def test_a_second_run_computes_nothing_and_another_loss_or_seed_neither(first, words):
    again, steps = run_flow(classification, [*CLASSIFICATION, *words])
    assert executed(steps) == set()
    assert again.classifier.weights == first[0].classifier.weights
    _, steps = run_flow(classification, [*CLASSIFICATION, *words, "--training.epochs", "7", "--training.seed", "3"])
    assert not executed(steps) & OWN


def test_what_is_registered_holds_no_weight_of_the_encoder_and_is_served_all_the_same(first, dataset, folder):
    result, _ = first
    (version,) = registry.versions("pneumonia-classifier")
    assert version.aliases == ("champion",)
    location = client().get_model_version_download_uri("pneumonia-classifier", str(version.version))
    where = Path(artifacts.download_artifacts(location, tracking_uri=tracking_uri()))
    payload = (where / registry.PACKAGE).read_bytes()
    assert len(payload) < 8000
    _, card = load(payload)
    encoder = result.classifier.encoder
    assert {name: card["encoder"][name] for name in ("name", "model", "revision", "random_weights")} == {
        "name": "rad_dino", "model": str(folder), "revision": encoder.revision, "random_weights": True
    }  # fmt: skip
    assert sorted(path.name for path in where.rglob("*") if path.is_file()) == [
        "MLmodel", "README.md", "card.json", "classifier.safetensors", "croissant.json"
    ]  # fmt: skip
    card_text = (where / "README.md").read_text(encoding="utf-8")
    assert_every_figure_is_a_metric(card_text, client().get_run(result.run.run_id).data.metrics)
    assert "There is no ONNX file. A probe has none: the weights of its encoder stay where" in card_text
    assert RANDOM_ENCODER_NOTICE in card_text
    assert encoder.revision in card_text
    served = pyfunc.load_model(str(where))
    assert served.metadata.metadata == card
    images = np.load(dataset)["test_images"]
    logits = Store().get_arrays(result.predictions.outputs)["test_logits"]
    wanted = calibrated_probabilities(logits, result.calibration.temperature)
    np.testing.assert_allclose(served.predict(images.astype(np.float32))[:, 1], wanted, atol=1e-4)
    with pytest.raises(MlflowException):
        served.predict(np.zeros((2, 30, 30), np.float32))
    described = client().get_model_version("pneumonia-classifier", str(version.version)).description
    assert encoder.revision in described
    assert "RANDOM WEIGHTS" in described


@pytest.fixture(scope="module")
def searched(first, words):
    return run_flow(retrieval, [*RETRIEVAL, *words, "--retrieval.classifier", "champion"])


def test_its_search_takes_the_vectors_of_the_encoder_which_are_there_already(first, searched, capsys, dataset):
    result, steps = searched
    assert "embed-shard" not in executed(steps)
    assert "predict-classifier" not in {step.step for step in steps}
    vectors = Store().get_arrays(result.embeddings.shards["test"][0].vectors)["vectors"]
    np.testing.assert_array_equal(vectors, Store().get_arrays(first[0].predictions.outputs)["test_embeddings"])
    assert result.embeddings.identity.startswith("classifier sha256:")
    run = client().get_run(result.run.run_id)
    assert 0 < run.data.metrics["loo/map"] <= 1
    found, _ = run_flow(search, ["--search.index", "3"])
    assert found


def test_one_s_own_picture_is_judged_explained_and_compared(first, searched, dataset, tmp_path):
    Image.fromarray(np.load(dataset)["test_images"][5]).save(tmp_path / "scan.png")
    words = ["--dataset.path", str(dataset), "--dataset.limit", "None", "--cases.images", str(tmp_path / "scan.png")]
    result, steps = run_flow(cases, words)
    assert "explain-pictures" in executed(steps)
    assert "embed-shard" not in executed(steps)
    (case,) = json.loads(Store().get(result.cases))
    logits = Store().get_arrays(first[0].predictions.outputs)["test_logits"]
    wanted = calibrated_probabilities(logits, first[0].calibration.temperature)[5]
    assert case["classification"]["probability"] == pytest.approx(wanted, abs=1e-4)
    (similar,) = case["similar"]
    assert similar["hits"][0]["similarity"] == pytest.approx(1, abs=1e-4)  # it is in the index itself


def test_a_network_challenges_a_probe(first, dataset):
    words = ["--dataset.path", str(dataset), "--dataset.limit", "None", "--evaluation.label_folds", "0"]
    result, steps = run_flow(classification, [*CLASSIFICATION, *words])
    assert {"compare-with-champion", "export-graph"} <= executed(steps)
    assert "champion" in result.decision
    run = client().get_run(result.run.run_id)
    text = Path(client().download_artifacts(result.run.run_id, "model/README.md")).read_text(encoding="utf-8")
    assert_every_figure_is_a_metric(text, run.data.metrics)
    assert "pneumonia is predicted from a probability of 0.5 on" in text
    assert "X-rays of adults" in text
    assert run.data.metrics["onnx/changed_decisions"] == 0


def test_a_probe_on_an_encoder_that_is_made_here_is_one_sentence(capsys):
    assert main(classification, ["--training.architecture", "probe", "--training.encoder", "classifier"]) == 2
    told = "--training.encoder: Input should be 'clip', 'pubmedclip', 'biomedclip', 'rad_dino' or 'medsiglip'"
    assert told in " ".join(capsys.readouterr().err.split())


def test_another_class_of_checkpoint_is_one_sentence(folder, capsys):
    words = ["--training.architecture", "probe", "--training.encoder", "clip", "--training.pretrained", str(folder)]
    assert main(classification, words) == 2
    assert "is of another class than clip, which is a CLIP model" in " ".join(capsys.readouterr().err.split())
