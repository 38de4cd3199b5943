"""Another set of MedMNIST: eight classes in colour, drawn small in the layout of BloodMNIST."""

import base64
import csv
import io
import json
import re
import shutil
from html import escape as escape_html
from pathlib import Path

import medmnist
import numpy as np
import pytest
from mlflow import MlflowClient, artifacts
from PIL import Image
from pydicom.data import get_testdata_file

from flows.cases import cases
from flows.classification import classification
from flows.pipeline import pipeline
from flows.reports import reports
from flows.retrieval import retrieval
from flows.search import search
from flows.support.shell import main, parse
from flows.sweep import sweep
from models.classifier.onnx_graph import onnx_probabilities
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.classifier.weights import load
from models.errors import InputError
from models.markdown import escape
from models.notices import RESEARCH_NOTICE
from tasks.cases.case import Case
from tasks.classification.version_files import MODEL_CARD
from tasks.execution.caching import outcomes
from tasks.records.data import UNKNOWN_LICENCE
from tasks.retrieval.published.publication import find_published
from tasks.shared.metric_names import class_metric, class_word
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tasks.tracking import registry, runs
from tests.flows.small import CLASSIFICATION, FEW_IMAGES, executed, run_flow
from tests.support.drawn_sets import draw_set
from tests.support.model_cards import assert_every_figure_is_a_metric, assert_headings_are_hugging_faces, run_code

CLASSES = 8
A_CLASS = {"train": 10, "val": 6, "test": 12}  # images, so that a query finds ten others of its class in test
METRICS = (
    "auc", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "average_precision", "ece",
    "brier",
)  # fmt: skip
STEPS = {
    "prepare-dataset", "divide-folds", "train-classifier", "predict-classifier", "calibrate-classifier",
    "evaluate-classifier", "assess-trust", "explain-classifier", "check-explanation", "predict-fold", "audit-labels",
    "plot-classification", "document-classification", "package-classifier", "export-graph", "write-model-card",
}  # fmt: skip

FEW_FIGURES = (
    "--retrieval.bootstrap_samples", "50", "--retrieval.galleries", "1", "--retrieval.neighbours", "2",
)  # fmt: skip
TEMPLATE_ONLY = (
    "Prompts, controls, the lexicon of the audit and the codes of DICOM and FHIR results are about chest X-rays, "
    "normal or pneumonia, so that reports on bloodmnist are the template's alone."
)

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
    assert limited.dataset.counts == {"train": 64, "val": 48, "test": 64}
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


@pytest.fixture(scope="module")
def searched(first, words):
    return run_flow(retrieval, [*words, *FEW_FIGURES])[0]


def test_retrieval_follows_the_classes_of_the_set(first, searched):
    run = run_of(searched)
    metrics = run.data.metrics
    for name in first.dataset.labels:
        for family in ("loo/map", "drift/domain_auc", "drift/reference_auc"):
            assert 0 <= metrics[class_metric(family, name)] <= 1
    assert metrics["loo/precision_at_1"] > metrics["chance/loo/precision_at_1"] + 0.2  # it has learnt the colours
    assert metrics["chance/loo/precision_at_1"] == pytest.approx(
        (A_CLASS["test"] - 1) / (CLASSES * A_CLASS["test"] - 1)
    )
    assert not [name for name in metrics if "pneumonia" in name or name.endswith("_normal")]
    report = _artifact(run, "report.md")
    assert all(escape(name) in report for name in first.dataset.labels)
    assert not re.search("pneumonia|radiolog", report.replace("as they do for the chest X-rays", ""), re.IGNORECASE)
    assert find_published("classifier", "bloodmnist").run_id == run.info.run_id


def test_its_index_takes_no_place_of_that_of_the_chest_x_rays(searched, capsys):
    with pytest.raises(InputError, match=r"There is no index of the encoder classifier yet: .*flows\.retrieval --retr"):
        find_published("classifier")
    with pytest.raises(InputError, match=r"classifier over dermamnist yet: .* --dataset\.name dermamnist"):
        find_published("classifier", "dermamnist")
    assert "There is no index" in _mistake(search, ["--search.index", "0"], capsys)


def test_a_search_finds_a_colour_picture_and_names_its_classes(first, searched, tmp_path):
    images = Store().get_arrays(first.dataset.splits)["test_images"]
    path = tmp_path / "cell.png"
    Image.fromarray(images[5]).save(path)
    asked = ["--search.dataset", "bloodmnist", "--search.image", str(path), "--search.k", "4"]
    found, _ = run_flow(search, asked)
    result = Store().get_json(found.result)
    assert result["class_names"] == list(first.dataset.labels)
    nearest = result["hits"][0]
    assert (nearest["split"], nearest["index"], nearest["label"]) == ("test", 5, 5)
    assert nearest["similarity"] == pytest.approx(1, abs=1e-5)
    only, _ = run_flow(search, [*asked, "--search.among_class", first.dataset.labels[2]])
    assert {hit["label"] for hit in Store().get_json(only.result)["hits"]} == {2}
    report = Store().get(found.document).decode()
    assert "children" not in report
    assert "pneumonia" not in report


def test_a_class_that_the_set_lacks_is_one_sentence(searched, capsys):
    words = ["--search.dataset", "bloodmnist", "--search.index", "0", "--search.among_class", "pneumonia"]
    assert "--search.among_class pneumonia: the classes of the dataset are basophil" in _mistake(search, words, capsys)


@pytest.fixture(scope="module")
def judged(first, searched, words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    images = Store().get_arrays(first.dataset.splits)["test_images"]
    for place in range(3):
        Image.fromarray(images[place]).save(folder / f"{place}.png")
    noise = np.random.default_rng(3).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(folder / "grey noise.png")
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "ct.dcm")
    own = ["--dataset.name", "bloodmnist", "--dataset.path", words[words.index("--dataset.path") + 1]]
    return run_flow(cases, [*own, "--cases.images", str(folder), "--cases.neighbours", "3"])[0]


def test_ones_own_pictures_are_judged_by_all_classes_in_colour(first, judged):
    found = {case.name: case for case in map(Case.model_validate, Store().get_json(judged.cases))}
    arrays = Store().get_arrays(first.evaluation.predictions)
    for place in range(3):
        said = found[f"{place}.png"].classification
        best, second = np.argsort(-arrays["probabilities"][place])[:2]
        assert said.label == first.dataset.labels[best]
        assert said.probability == pytest.approx(arrays["probabilities"][place, best], abs=1e-5)
        assert said.runner_up[0] == first.dataset.labels[second]
        assert said.runner_up[1] == pytest.approx(arrays["probabilities"][place, second], abs=1e-5)
        assert said.threshold is None
        (similar,) = found[f"{place}.png"].similar
        assert ("test", place) in {(hit.split, hit.index) for hit in similar.hits}
        assert similar.hits[0].similarity == pytest.approx(1, abs=1e-5)
    assert found["grey noise.png"].foreign
    assert "ct.dcm is a DICOM file, which is read in grey" in found["ct.dcm"].problem
    counted = [case for case in found.values() if case.counts]
    for label in first.dataset.labels:
        assert judged.metrics[f"cases/{class_word(label)}"] == sum(c.classification.label == label for c in counted)


def test_the_pages_of_the_pictures_name_the_classes_and_the_template_reports_on_them(judged):
    client, run = MlflowClient(tracking_uri()), judged.run.run_id
    names = {file.path for file in client.list_artifacts(run)}
    assert not {"fhir", "dicom"} & names
    known = [each for each in Store().get_json(judged.cases) if each["screening"] and not each["screening"]["foreign"]]
    case = known[0]
    page = Path(client.download_artifacts(run, f"{case['digest'][:12]}.html")).read_text(encoding="utf-8")
    classification = case["classification"]
    for said in (
        f"Calibrated probability of {classification['label']}",
        f"Evidence for {classification['runner_up'][0]}",
        "had the class that was predicted",
        f"(calibrated probability {classification['probability']:.2f}; next: {classification['runner_up'][0]}, ",
        "No expert has seen it.",
    ):
        assert escape_html(said) in page
    shown = re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)  # which has the colours of the chest X-rays too
    for text in (shown, _artifact(run_of(judged), "report.md")):
        assert not re.search("pneumonia|children", text.replace(TEMPLATE_ONLY, ""), re.IGNORECASE)
    assert "figures/cases.png" in {file.path for file in client.list_artifacts(run, "figures")}


@pytest.fixture(scope="module")
def everything(first, searched, words):
    return run_flow(pipeline, [*words, *FEW_FIGURES, "--reports.cases", "9"])


def test_the_template_reports_on_cases_of_every_group_and_class(first, searched, everything, capsys):
    summary, steps = everything
    assert executed(steps) == {
        "choose-report-cases", "explain-cases", "gather-report-evidence", "plan-reports", "write-reports",
        "read-reports", "audit-written-reports", "plot-reports", "show-cases", "document-reports",
    }  # fmt: skip
    assert summary["retrieval"]["metrics"]["loo/map"] == searched.retrieval.metrics["loo/map"]
    metrics, run = summary["reports"]["metrics"], summary["reports"]["mlflow_run_id"]
    assert metrics["reports/count"] == 9
    assert metrics["reports/template/agreement"] == 1  # it words the classifier's label
    assert not [name for name in metrics if re.search("claim|control|pneumonia|normal|sensitivity", name)]
    client = MlflowClient(tracking_uri())
    table = json.loads(Path(client.download_artifacts(run, "reports.json")).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    probabilities = Store().get_arrays(first.evaluation.predictions)["probabilities"]
    labels = Store().get_arrays(first.dataset.splits)["test_labels"]
    for row in rows:
        called = probabilities[row["case"]].argmax()
        assert row["label"] == first.dataset.labels[called]
        assert row["truth"] == first.dataset.labels[labels[row["case"]]]
        assert row["classifier p"] == pytest.approx(probabilities[row["case"]].max())
        assert f"evidence for {row['label']} is strongest" in row["impression"] or "no focus" in row["impression"]
    assert metrics["reports/label_accuracy"] == np.mean([row["label"] == row["truth"] for row in rows])
    names = {file.path for file in client.list_artifacts(run)}
    assert "cases" in names and "fhir" not in names


def test_the_report_and_the_pages_of_the_cases_name_the_classes_of_the_set(everything):
    summary, _ = everything
    run = MlflowClient(tracking_uri()).get_run(summary["reports"]["mlflow_run_id"])
    report, page = _artifact(run, "report.md"), _artifact(run, "cases/index.html")
    assert "are measured for chest X-rays alone" in report
    assert "next: " in page
    for text in (
        report.replace("bias between normal and pneumonia", ""),
        re.sub("<style>.*?</style>", "", page, flags=re.DOTALL),
    ):
        assert not re.search("pneumonia|radiolog|chest x-rays? of|effusion", text, re.IGNORECASE)
    figures = {file.path for file in MlflowClient(tracking_uri()).list_artifacts(run.info.run_id, "figures")}
    assert figures == {
        f"figures/{name}.png" for name in ("agreement", "collapse", "contact_sheet", "label_scores", "reticence")
    }


def test_a_language_model_that_is_asked_for_is_refused_in_one_sentence(words, capsys):
    for flow in (reports, pipeline, cases):
        more = ["--reports.generator", "medgemma"]
        given = [*words, *more] if flow is not cases else [
            "--dataset.name", "bloodmnist", *more, "--cases.images", __file__
        ]  # fmt: skip
        told = _mistake(flow, given, capsys)
        assert told.startswith(f"error: --dataset.name bloodmnist has no --reports.generator medgemma: {TEMPLATE_ONLY}")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A file of several labels an image, and what the pipeline makes of it."""
    path = draw_set(tmp_path_factory.mktemp("several"), "chestmnist", {"train": 8, "val": 6, "test": 6})
    words = [
        *CLASSIFICATION, "--dataset.name", "chestmnist", "--dataset.path", str(path), "--dataset.limit", "None",
        "--training.epochs", "2", "--training.ema_decay", "0.5",
    ]  # fmt: skip
    return path, words, run_flow(pipeline, words)


def test_images_of_several_labels_are_scored_label_by_label_as_the_evaluator_does(several):
    path, _, (summary, steps) = several
    metrics = summary["classification"]["metrics"]
    run = MlflowClient(tracking_uri()).get_run(summary["classification"]["mlflow_run_id"])
    assert executed(steps) == {
        "prepare-dataset", "train-classifier", "predict-classifier", "calibrate-labels", "evaluate-labels",
        "plot-labels", "document-labels",
    }  # fmt: skip
    payload = Path(MlflowClient(tracking_uri()).download_artifacts(run.info.run_id, "model/classifier.safetensors"))
    model, card = load(payload.read_bytes())
    arrays = np.load(path)
    logits = predict(model, arrays["test_images"], Normalization(**card["normalization"])).logits
    official = medmnist.Evaluator("chestmnist", "test", root=path.parent).evaluate(1 / (1 + np.exp(-logits)))
    assert metrics["test/auc"] == pytest.approx(official.AUC, abs=1e-6)
    assert metrics["test/accuracy"] == pytest.approx(official.ACC, abs=1e-6)
    report = _artifact(run, "report.md")
    for label in medmnist.INFO["chestmnist"]["label"].values():
        assert f"| {label} | " in report
        assert metrics[f"test/{class_metric('auc', label)}_ci_low"] <= metrics[f"test/{class_metric('auc', label)}"]
    assert "Left out are the operating point" in report
    assert "have several labels each" in summary["retrieval"]["left_out"]


def test_what_counts_cases_of_one_class_refuses_several_labels_in_one_sentence(several, capsys):
    path, words, _ = several
    named = ["--dataset.name", "chestmnist", "--dataset.path", str(path)]
    for flow, given, part in (
        (retrieval, words, "search for similar cases"),
        (sweep, named, "sweep"),
        (cases, [*named, "--cases.images", str(path)], "look at one's own pictures"),
        (search, ["--search.dataset", "chestmnist"], "search for similar cases"),
        (classification, [*named, "--training.architecture", "probe"], "probe"),
        (classification, [*named, "--dataset.corrections", str(path)], "--dataset.corrections"),
    ):
        told = _mistake(flow, given, capsys)
        assert told.startswith(f"error: --dataset.name chestmnist has no {part}: The images of chestmnist have several")
    told = _mistake(classification, [*named, "--training.loss", "cross_entropy"], capsys)
    assert "does not fit a data set of 14 labels, several an image; choose one of: balanced_bce, bce." in told


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


def _artifact(run, path):
    return Path(MlflowClient(tracking_uri()).download_artifacts(run.info.run_id, path)).read_text(encoding="utf-8")


def _mistake(flow, words, capsys):
    """Run a flow that ends in a mistake of the user, and return the one sentence."""
    capsys.readouterr()
    assert main(flow, words) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return captured.err.splitlines()[-1]
