"""Another set of MedMNIST: eight classes in colour, drawn small in the layout of BloodMNIST."""

import base64
import csv
import io
import json
from pathlib import Path

import medmnist
import numpy as np
import pytest
from mlflow import MlflowClient, artifacts
from PIL import Image

from flows.classification import classification
from flows.pipeline import pipeline
from flows.reports import reports
from flows.retrieval import retrieval
from flows.support.shell import main, parse
from models.classifier.onnx_graph import onnx_probabilities
from models.classifier.weights import load
from models.markdown import escape
from models.notices import RESEARCH_NOTICE
from tasks.classification.version_files import MODEL_CARD
from tasks.execution.caching import outcomes
from tasks.records.data import UNKNOWN_LICENCE
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tasks.tracking import registry, runs
from tests.flows.small import CLASSIFICATION, FEW_IMAGES
from tests.support.model_cards import assert_every_figure_is_a_metric, assert_headings_are_hugging_faces, run_code

CLASSES = 8
A_CLASS = {"train": 10, "val": 6, "test": 6}  # images
METRICS = (
    "auc", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "average_precision", "ece",
    "brier",
)  # fmt: skip
STEPS = {
    "prepare-dataset", "divide-folds", "train-classifier", "predict-classifier", "calibrate-classifier",
    "evaluate-classifier", "assess-trust", "explain-classifier", "check-explanation", "predict-fold", "audit-labels",
    "plot-classification", "document-classification", "package-classifier", "export-graph", "write-model-card",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")


@pytest.fixture(scope="module")
def blood(tmp_path_factory):
    """Noise with the colour of the class, which varies enough to take some images for others."""
    rng = np.random.default_rng(0)
    colours = np.array([(red, green, blue) for red in (-40, 40) for green in (-40, 40) for blue in (-40, 40)])
    arrays = {}
    for split, count in A_CLASS.items():
        labels = np.tile(np.arange(CLASSES), count)
        noise = rng.normal(128, 40, size=(len(labels), 28, 28, 3))
        colour = colours[labels] + rng.normal(0, 25, size=(len(labels), 3))
        arrays[f"{split}_images"] = (noise + colour[:, None, None]).clip(0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = labels.astype(np.uint8)[:, None]
    path = tmp_path_factory.mktemp("data") / "blood.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def words(blood):
    return [
        *CLASSIFICATION, "--dataset.name", "bloodmnist", "--dataset.path", str(blood), "--dataset.limit", "None",
        "--training.architecture", "compact28", "--training.loss", "balanced_cross_entropy",
        "--training.batch_size", "16", "--training.epochs", "4", "--training.ema_decay", "0.5",
        "--evaluation.corrupted_images", "4",  # left out, since the corruptions are those of another dataset
    ]  # fmt: skip


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, words):
    return classification(**parse(classification, words))


def run_of(result):
    return MlflowClient(tracking_uri()).get_run(result.run.run_id)


@pytest.fixture(scope="module")
def run(first):
    return run_of(first)


def _executed(result):
    return {step.step for step in outcomes([result.flow_run_id]) if not step.hit}


def test_every_step_runs_and_the_records_are_of_eight_classes_in_colour(first):
    assert _executed(first) == STEPS
    assert first.dataset.labels == tuple(medmnist.INFO["bloodmnist"]["label"].values())
    assert first.dataset.channels == 3
    assert first.dataset.counts == {split: CLASSES * count for split, count in A_CLASS.items()}
    assert first.explanation.shapes["pairs"][1:] == (2, 28, 28)
    assert "maps" not in first.explanation.shapes
    model, card = load(Store().get(first.classifier.weights))
    assert (model.classes, model.channels) == (CLASSES, 3)
    assert card["labels"] == list(first.dataset.labels)
    assert len(card["normalization"]["mean"]) == 3


def test_every_metric_is_there_and_no_threshold(first, run):
    metrics = run.data.metrics
    for name in METRICS:
        assert 0 <= metrics[f"val/{name}"] <= 1
        assert 0 <= metrics[f"test/{name}_ci_low"] <= metrics[f"test/{name}"] <= metrics[f"test/{name}_ci_high"] <= 1
    assert 0.8 < metrics["test/auc"] < 1  # it has learnt the colours
    assert metrics["test/balanced_accuracy"] == pytest.approx(metrics["test/accuracy"])  # as many images of each class
    assert metrics["train/seconds"] > 0
    assert metrics["calibration/temperature"] > 0
    assert metrics["labels/near_duplicates"] == 0
    assert "threshold" not in metrics
    assert first.evaluation.threshold is None


def test_the_confusion_matrix_is_eight_by_eight_and_agrees_with_the_accuracy(first, run):
    confusion = np.array(first.evaluation.confusion)
    assert confusion.shape == (CLASSES, CLASSES)
    assert confusion.sum(axis=1).tolist() == [A_CLASS["test"]] * CLASSES
    assert np.trace(confusion) / confusion.sum() == pytest.approx(run.data.metrics["test/accuracy"])


def test_figures_findings_and_report_are_in_mlflow(first, run, tmp_path):
    client = MlflowClient(tracking_uri())
    assert run.info.status == "FINISHED"
    assert run.inputs.dataset_inputs[0].dataset.digest == first.dataset.md5
    names = {
        folder: {file.path.split("/")[1] for file in client.list_artifacts(first.run.run_id, folder)}
        for folder in ("figures", "findings")
    }
    assert names["findings"] == {"trust.json", "explanation.json", "labels.json"}
    assert names["figures"] == {
        "training_curves.png", "confusion_matrix.png", "roc_curve.png", "precision_recall_curve.png",
        "reliability_diagram.png", "failure_cases.png", "grad_cam.png", "conformal_coverage.png", "score_shift.png",
        "failure_overview.png", "grad_cam_randomisation.png", "grad_cam_randomisation_examples.png",
        "grad_cam_deletion_insertion.png", "label_issues.png", "near_duplicates.png",
    }  # fmt: skip
    with open(client.download_artifacts(first.run.run_id, "report.md", str(tmp_path)), encoding="utf-8") as file:
        report = file.read()
    assert all(name in report for name in first.dataset.labels)
    assert "pneumonia" not in report.lower()


def test_the_model_is_registered_under_the_name_of_its_set_as_champion(first):
    (version,) = registry.versions("bloodmnist-classifier")
    assert version.aliases == ("champion",)
    assert version.run_id == first.run.run_id
    assert version.tags["dataset.name"] == "bloodmnist"
    assert version.tags["threshold"] == "null"


def test_its_card_says_what_the_run_measured_and_its_code_runs(first, run, monkeypatch, capsys):
    client = MlflowClient(tracking_uri())
    (version,) = registry.versions("bloodmnist-classifier")
    uri = client.get_model_version_download_uri(version.name, str(version.version))
    folder = Path(artifacts.download_artifacts(uri, tracking_uri=tracking_uri()))
    text = (folder / MODEL_CARD).read_text(encoding="utf-8")
    assert_headings_are_hugging_faces(text)
    assert_every_figure_is_a_metric(text, run.data.metrics)
    for field, value in run.data.params.items():
        if field.startswith("training.") and value != "None":
            assert f"| {escape(value)} | `{field}` |" in text
    for said in (first.dataset.sha256, RESEARCH_NOTICE, "The file has no attributes of patients", UNKNOWN_LICENCE):
        assert said in text
    monkeypatch.chdir(folder)
    names = run_code(text)
    np.testing.assert_allclose(names["probabilities"], names["model"].predict(names["images"]), atol=1e-5)
    assert names["card"]["dataset_sha256"] == first.dataset.sha256
    printed = capsys.readouterr().out
    assert all(label in printed for label in first.dataset.labels)
    logged = {file.path for file in client.list_artifacts(first.run.run_id, "model")}
    assert logged == {
        f"model/{name}" for name in ("README.md", "classifier.onnx", "classifier.safetensors", "croissant.json")
    }
    described = client.get_model_version(version.name, str(version.version)).description
    assert f"[Model card]({runs.place_of(first.run, 'model/README.md')})" in described


def test_the_graph_in_onnx_decides_as_the_classifier_does(first, run):
    metrics = run.data.metrics
    assert metrics["onnx/images"] == CLASSES * A_CLASS["test"]
    assert metrics["onnx/changed_decisions"] == 0
    assert metrics["onnx/greatest_difference"] < 1e-5
    payload = Path(
        MlflowClient(tracking_uri()).download_artifacts(first.run.run_id, "model/classifier.onnx")
    ).read_bytes()
    images = Store().get_arrays(first.dataset.splits)["test_images"]
    reported = Store().get_arrays(first.evaluation.predictions)["probabilities"]
    for batch in (1, 5, 64):
        np.testing.assert_allclose(onnx_probabilities(payload, images, batch), reported, atol=1e-5)
    wrong = np.full((2, 28, 28, 3), 0.5, np.float32)  # pixels that were scaled
    assert np.isnan(onnx_probabilities(payload, wrong)).all()


def test_a_second_run_executes_nothing_and_adds_no_version(first, words):
    again = classification(**parse(classification, words))
    assert _executed(again) == set()
    assert again.evaluation == first.evaluation
    assert [version.run_id for version in registry.versions("bloodmnist-classifier")] == [first.run.run_id]


def test_a_part_of_the_data_registers_no_version_and_says_why(first, words):
    limited = classification(**parse(classification, [*words, *FEW_IMAGES]))
    assert limited.dataset.counts == {"train": 64, "val": 48, "test": 48}
    (version,) = registry.versions("bloodmnist-classifier")
    assert (version.run_id, version.aliases) == (first.run.run_id, ("champion",))
    tags = MlflowClient(tracking_uri()).get_run(limited.run.run_id).data.tags
    assert tags["promotion.reason"] == (
        "Not registered, since it is a trial: the first 64 images of each split are a part of the data, for a try."
    )
    assert "registry.version" not in tags


@pytest.fixture(scope="module")
def doubted(first, tmp_path_factory):
    """The list of doubtful labels with one of them filled in, and its row."""
    folder = tmp_path_factory.mktemp("doubted")
    client = MlflowClient(tracking_uri())
    path = Path(client.download_artifacts(first.run.run_id, "doubtful_labels.csv", str(folder)))
    head, row, *rest = path.read_text(encoding="utf-8").splitlines()
    assert head == "index,split,given,suggested,probability,corrected"
    index, split, given, suggested, probability, corrected = next(csv.reader([row]))
    assert (split, corrected) == ("train", "")
    assert 0 <= float(probability) <= 1
    path.write_text("\n".join([head, f'{row}"{suggested}"', *rest]), encoding="utf-8")
    tasks = json.loads(Path(client.download_artifacts(first.run.run_id, "doubtful_labels.json")).read_text())
    assert len(tasks) == len(rest) + 1 == run_of(first).data.metrics["labels/issues"]
    assert tasks[0]["data"].items() >= {"index": int(index), "split": "train", "given": given}.items()
    picture = Image.open(io.BytesIO(base64.b64decode(tasks[0]["data"]["image"].partition("base64,")[2])))
    factor = picture.width // 28
    stored = Store().get_arrays(first.dataset.splits)["train_images"][int(index)]
    np.testing.assert_array_equal(np.asarray(picture)[::factor, ::factor], stored)
    (answer,) = tasks[0]["predictions"][0]["result"]
    assert (answer["from_name"], answer["value"]) == ("corrected", {"choices": [suggested]})
    return path, int(index), given, suggested


def test_a_label_that_a_person_corrects_is_trained_with_and_said_everywhere(first, words, doubted, tmp_path):
    path, index, given, suggested = doubted
    few = ["--dataset.corrections", str(path), "--evaluation.label_folds", "0"]
    corrected = classification(**parse(classification, [*words, *few]))
    names, data = list(first.dataset.labels), corrected.dataset
    before, after = (Store().get_arrays(record.splits) for record in (first.dataset, data))
    changed = before["train_labels"].copy()
    changed[index] = names.index(suggested)
    np.testing.assert_array_equal(after["train_labels"], changed)
    for array in before.keys() - {"train_labels"}:
        np.testing.assert_array_equal(after[array], before[array])
    assert {data.sha256, data.md5, data.digest}.isdisjoint({first.dataset.sha256, first.dataset.md5})
    assert data.source_sha256 == first.dataset.sha256
    assert data.title == "bloodmnist (own file, 1 corrected label)"
    assert {"train-classifier", "compare-with-champion"} <= _executed(corrected)
    run, client = run_of(corrected), MlflowClient(tracking_uri())
    assert run.data.params["dataset.corrections"] == str(path)
    assert run.data.tags["dataset.corrected"] == "1"
    assert run.inputs.dataset_inputs[0].dataset.digest == data.digest
    kept = Path(client.download_artifacts(run.info.run_id, "corrections.csv", str(tmp_path))).read_text()
    assert list(csv.reader(io.StringIO(kept))) == [
        ["index", "split", "given", "corrected"], [str(index), "train", given, suggested]
    ]  # fmt: skip
    said = f"| training labels corrected by a person | 1: #{index} {given} → {suggested}; corrections.csv lists them |"
    for name in ("report.md", "model/README.md"):
        assert said in Path(client.download_artifacts(run.info.run_id, name)).read_text(encoding="utf-8")
    _, card = load(Store().get(corrected.classifier.weights))
    assert card["dataset_sha256"] == data.sha256


def test_a_wrong_correction_is_one_sentence_with_its_line(words, doubted, capsys):
    path, index, given, suggested = doubted
    wrong = path.with_name("wrong.csv")
    wrong.write_text(f'index,split,given,corrected\n{index},test,"{given}","{suggested}"\n')
    told = _mistake(classification, [*words, "--dataset.corrections", str(wrong)], capsys)
    assert told.endswith("line 2: the split is 'test': expected train, since the others stay as they are.")
    told = _mistake(classification, [*words, "--dataset.corrections", str(wrong), "--dataset.limit", "64"], capsys)
    assert "--dataset.limit 64 leaves some out: give one of the two" in told
    told = _mistake(classification, [*words, "--dataset.corrections", str(path.with_name("none.csv"))], capsys)
    assert "none.csv cannot be read (No such file or directory)" in told


@pytest.mark.parametrize("flow", [pipeline, retrieval, reports])
def test_retrieval_and_reports_refuse_it_in_one_sentence(flow, words, capsys):
    told = _mistake(flow, words, capsys)
    assert told.startswith("error: --dataset.name bloodmnist: retrieval and reports are about chest X-rays")


def test_a_loss_of_two_classes_is_refused_before_the_file_is_looked_for(words, tmp_path, capsys):
    missing = ["--dataset.path", str(tmp_path / "missing.npz")]
    assert "missing.npz is neither a file nor a folder" in _mistake(classification, [*words, *missing], capsys)
    told = _mistake(classification, [*words, *missing, "--training.loss", "balanced_bce"], capsys)
    assert told.startswith("error: The loss 'balanced_bce' does not fit a data set of 8 classes; choose one of: ")
    assert "balanced_cross_entropy" in told


def test_folds_that_cannot_be_made_are_refused_before_anything_is_trained(words, capsys):
    told = _mistake(classification, [*words, "--training.seed", "7", "--evaluation.label_folds", "11"], capsys)
    assert told.startswith("error: --evaluation.label_folds 11 ")
    assert "the smallest class has 10 distinct ones" in told
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    newest = client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=1)[0]
    assert newest.info.status == "FAILED"
    assert newest.data.params["training.seed"] == "7"
    assert not newest.data.metrics  # an epoch would have left some


def test_a_batch_larger_than_the_file_is_one_sentence(words, capsys):
    told = _mistake(classification, [*words, "--training.batch_size", "128"], capsys)
    assert "128" in told
    assert "80" in told


def _mistake(flow, words, capsys):
    """Run a flow that ends in a mistake of the user, and return the one sentence."""
    capsys.readouterr()
    assert main(flow, words) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return captured.err.splitlines()[-1]
