"""The whole pipeline on real images at the debug preset: what runs again after which change."""

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_RESULTS_LOCAL_STORAGE_PATH, temporary_settings

from deployments.local.backup import main as backup
from deployments.local.gc import main
from flows.pipeline import pipeline
from flows.retrieval import retrieval
from flows.support.shell import parse
from models.classifier.weights import load
from models.errors import InputError
from tasks.retrieval.published.publication import find_published
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tests.flows.small import RETRIEVAL, executed, run_flow
from tests.support.pages import artifacts_of, page_of

HEAVY = {"train-classifier", "embed-shard", "export-embeddings", "project-embeddings"}
ALL = {
    "prepare-dataset", "train-classifier", "predict-classifier", "calibrate-classifier", "evaluate-classifier",
    "assess-trust", "predict-corrupted", "assess-robustness", "explain-classifier", "check-explanation", "divide-folds",
    "predict-fold", "audit-labels", "package-classifier", "write-model-card", "plot-classification",
    "document-classification", "embed-shard", "export-embeddings",
    "index-embeddings", "search-neighbours", "evaluate-retrieval", "project-embeddings", "measure-drift",
    "analyse-failures", "analyse-neighbours", "map-similarity", "draw-map", "plot-retrieval", "document-retrieval",
    "choose-report-cases", "explain-cases", "gather-report-evidence", "plan-reports", "write-reports", "read-reports",
    "audit-written-reports", "plot-reports", "show-cases", "document-reports",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module", autouse=True)
def _data(official_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA", str(official_file.parent))
        yield


def _run(*words):
    return pipeline(**parse(pipeline, [*RETRIEVAL, "--evaluation.corrupted_images", "4", *words]))


def _executed(summary):
    return {step["step"] for step in summary["tasks"]["steps"] if not step["hit"]}


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, _data):
    return _run()


def test_the_first_run_executes_every_step_and_writes_the_summary(first, shared_outputs):
    assert _executed(first) == ALL
    assert first["tasks"]["cached"] == 0
    assert json.loads((shared_outputs / "summary.json").read_text()) == json.loads(json.dumps(first))
    assert first["dataset"]["name"] == "pneumoniamnist"
    assert first["dataset"]["md5"] == "28209eda62fecd6e6a2d98b1501bb15f"
    assert first["dataset"]["title"] == "pneumoniamnist (first 160 of each split)"
    assert "phantoms" not in first
    scores = first["classification"]["metrics"]
    for name in (
        "auc", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "average_precision", "ece",
        "brier",
    ):  # fmt: skip
        assert 0 <= scores[f"test/{name}_ci_low"] <= scores[f"test/{name}_ci_high"] <= 1
        assert 0 <= scores[f"test/{name}"] <= 1
    assert 0.6 < scores["test/auc"] < 1  # one epoch on 160 images has learnt something
    assert scores["val/auc"] > 0.6
    assert scores["train/seconds"] > 0
    found = first["retrieval"]["metrics"]
    for protocol in ("loo", "gallery", "conditioned", "chance/loo", "chance/gallery"):
        for name in ("precision_at_1", "precision_at_5", "precision_at_10", "hit_at_5", "map", "map_normal"):
            assert 0 <= found[f"{protocol}/{name}"] <= 1
    assert found["loo/precision_at_1"] > found["chance/loo/precision_at_1"]
    assert found["conditioned_true_class/precision_at_5"] == 1
    assert found["conditioned/precision_at_5"] == pytest.approx(scores["test/accuracy"])
    assert first["reports"]["metrics"]["reports/count"] == 6
    assert first["reports"]["metrics"]["reports/parsed"] == 1


def test_every_stage_has_an_mlflow_run_with_its_products(first):
    client = MlflowClient(tracking_uri())
    expected = {
        "classification": {"figures", "images", "findings", "model", "report.md", "report.html", "data_audit.json"},
        "retrieval": {
            "embeddings",
            "figures",
            "images",
            "findings",
            "index",
            "map.html",
            "report.md",
            "report.html",
        },
        "reports": {"figures", "images", "reports.json", "report.md", "report.html", "cases", "fhir"},
    }
    parents = set()
    for stage, paths in expected.items():
        run = client.get_run(first[stage]["mlflow_run_id"])
        assert run.info.status == "FINISHED"
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == paths
        dataset = run.inputs.dataset_inputs[0].dataset
        assert dataset.name == "pneumoniamnist (first 160 of each split)"
        assert dataset.digest == "28209eda62fecd6e6a2d98b1501b-160"
        assert json.loads(dataset.profile)["images"] == first["dataset"]["images"]
        parents.add(run.data.tags["mlflow.parentRunId"])
        for name, value in first[stage]["metrics"].items():
            assert run.data.metrics[name] == pytest.approx(value)
    (parent,) = parents
    assert client.get_run(parent).data.tags["prefect.flow_run_id"] == first["flow_run_id"]
    assert client.get_run(parent).data.params["training.epochs"] == "1"
    _leads_on(client, client.get_run(parent), first)
    figures = client.list_artifacts(first["classification"]["mlflow_run_id"], "figures")
    assert {file.path.removeprefix("figures/") for file in figures} == {
        "training_curves.png", "confusion_matrix.png", "roc_curve.png", "precision_recall_curve.png",
        "reliability_diagram.png", "failure_cases.png", "grad_cam.png", "conformal_coverage.png", "score_shift.png",
        "failure_overview.png", "grad_cam_randomisation.png", "grad_cam_randomisation_examples.png",
        "grad_cam_deletion_insertion.png", "label_issues.png", "near_duplicates.png", "robustness.png",
    }  # fmt: skip


def _leads_on(client, parent, summary):
    """The pipeline's run shows the metrics that count and its report with four pictures, and links its children."""
    own = [name for name in parent.data.metrics if not name.startswith("system/")]
    assert {"test/auc", "test/auc_ci_low", "loo/map", "reports/label_accuracy", "pipeline/seconds"} <= set(own)
    assert len(own) <= 60
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"figures", "images", "report.html", "report.md"}
    page = Path(client.download_artifacts(parent.info.run_id, "report.html")).read_text()
    assert page.count("<img src=") == 4
    report = Path(client.download_artifacts(parent.info.run_id, "report.md")).read_text()
    for said in (parent.data.tags["mlflow.note.content"], report):
        for stage in ("classification", "retrieval", "reports"):
            assert f"/runs/{summary[stage]['mlflow_run_id']}?workflowType=machine_learning)" in said


def test_a_trial_is_neither_registered_nor_searched_and_its_runs_say_why(first):
    client = MlflowClient(tracking_uri())
    tags = {stage: client.get_run(first[stage]["mlflow_run_id"]).data.tags for stage in ("classification", "retrieval")}
    assert "trial: the first 160 images of each split" in tags["classification"]["promotion.reason"]
    assert client.search_registered_models() == []
    assert tags["retrieval"]["index.published"] == "false"
    assert "trial: it holds only the first 160 images of each split" in tags["retrieval"]["index.reason"]
    with pytest.raises(InputError, match="There is no index of the encoder classifier yet"):
        find_published("classifier")


def test_one_page_of_the_prefect_run_says_all_in_the_order_in_which_it_is_read(first):
    page = page_of(first["flow_run_id"])
    links = [f"/runs/{first[stage]['mlflow_run_id']}" for stage in ("classification", "retrieval", "reports")]
    order = [
        "1. **What was run:**", "pneumoniamnist (first 160 of each split):", "Not registered, since it is a trial",
        *links, "![roc curve](data:image/png", "![failure cases]", "## Results in short", "| Test AUC | 0.",
        "![gallery test]", "![contact sheet]", "## Steps", "| train-classifier | run |",
    ]  # fmt: skip
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
    assert page.count("data:image/png") == 4
    moved = [artifact for artifact in artifacts_of(first["flow_run_id"]) if artifact.type == "progress"]
    assert {(artifact.description.partition(":")[0], float(artifact.data)) for artifact in moved} == {
        ("training, epochs", 100), ("corruptions of validation", 100), ("corruptions of test", 100), ("reports", 100),
    }  # fmt: skip


def test_every_figure_of_the_five_lines_is_a_metric_of_the_run(first):
    client = MlflowClient(tracking_uri())
    for stage in ("classification", "retrieval", "reports"):
        run_id = first[stage]["mlflow_run_id"]
        report = Path(client.download_artifacts(run_id, "report.md")).read_text()
        lines = re.findall(r"^\d\. \*\*.*$", report, re.MULTILINE)[:5]
        told = set(re.findall(r"\d\.\d{3}", " ".join(lines[1:4])))
        known = {f"{value:.3f}" for value in client.get_run(run_id).data.metrics.values()}
        assert len(lines) == 5 and told and told <= known | {"0.500"}  # guessing between two classes


def test_changing_k_trains_and_embeds_nothing(first):
    changed = _run("--retrieval.k_values", "1,3")
    assert _executed(changed) == {"evaluate-retrieval", "plot-retrieval", "document-retrieval"}
    assert not _executed(changed) & HEAVY
    assert "loo/precision_at_3" in changed["retrieval"]["metrics"]


def test_changing_the_number_of_cases_leaves_the_other_stages_alone(first):
    changed = _run("--reports.cases", "5")
    assert _executed(changed) == {
        "choose-report-cases", "explain-cases", "gather-report-evidence", "plan-reports", "write-reports",
        "read-reports", "audit-written-reports", "plot-reports", "show-cases", "document-reports",
    }  # fmt: skip


def test_changing_the_seed_trains_again(first):
    _, steps = run_flow(retrieval, [*RETRIEVAL, "--training.seed", "1"])
    assert executed(steps) >= HEAVY


def test_the_same_again_runs_only_the_steps_of_damaged_files_and_then_none(first, shared_outputs, capsys):
    """Training repeats its weights bit by bit, so the steps after it find the inputs they know."""
    store = Store()
    run_id = first["retrieval"]["mlflow_run_id"]
    index = Path(MlflowClient(tracking_uri()).download_artifacts(run_id, "index/all.index")).read_bytes()
    weights = [name for name in _stored(store) if name.endswith("safetensors")]
    assert load(store.read(weights[0]))
    for name in weights:
        store.write(name, store.read(name)[:-1])
    for name in [name for name in _stored(store) if store.read(name) == index]:
        store.remove(name)
    assert _executed(_run()) == {"train-classifier", "package-classifier", "index-embeddings"}
    _collect_garbage(shared_outputs, capsys)
    again = _run()
    assert again["tasks"]["executed"] == 0
    assert again["tasks"]["cached"] == len(first["tasks"]["steps"])
    trained_again = {"train/seconds": again["classification"]["metrics"]["train/seconds"]}
    assert again["classification"]["metrics"] == first["classification"]["metrics"] | trained_again
    assert again["retrieval"]["metrics"] == first["retrieval"]["metrics"]


def _collect_garbage(outputs, capsys):
    """What the ledger says was used this minute stays, however old its files are."""
    unnamed = outputs / "store" / Store().put(b"nothing names this", "text/csv").uri
    for folder in ("results", "store/sha256"):
        for path in (outputs / folder).rglob("*.*"):
            os.utime(path, (0, 0))
    assert main(["--delete"]) == 0, capsys.readouterr().err
    assert not unnamed.exists()


def _stored(store):
    folders = store.filesystem.ls(f"{store.root}/sha256", detail=False)
    return [name for folder in folders for name in store.list(f"sha256/{folder.rsplit('/', 1)[-1]}")]


def test_a_backup_that_is_restored_elsewhere_is_all_hits_and_keeps_its_pages(first, tmp_path, monkeypatch, capsys):
    archive, place = tmp_path / "backup.zip", tmp_path / "another place"
    assert backup(["backup", str(archive)]) == 0, capsys.readouterr().err
    monkeypatch.setenv("OUTPUTS", str(place))
    assert backup(["restore", str(archive)]) == 0, capsys.readouterr().err
    client = MlflowClient(tracking_uri())
    for stage in ("classification", "retrieval", "reports"):
        run = client.get_run(first[stage]["mlflow_run_id"])
        artifacts = Path(unquote(urlsplit(run.info.artifact_uri).path))
        assert artifacts.is_relative_to(place)
        assert (artifacts / "report.html").is_file()
    with temporary_settings({PREFECT_RESULTS_LOCAL_STORAGE_PATH: place / "results"}):
        again = _run()
    assert again["tasks"]["executed"] == 0
    assert again["retrieval"]["metrics"] == first["retrieval"]["metrics"]
    assert backup(["restore", str(archive)]) == 2
    assert "is not empty, and nothing is overwritten" in capsys.readouterr().err
