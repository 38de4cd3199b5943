"""A folder of pictures as the dataset, through the real command: what it computes, keeps and tells of names."""

import csv
import io
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

from flows.classification import classification
from flows.support.shell import main
from tasks.data.image_folder import list_folder
from tasks.data.validation import dump_splits
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tests.flows.small import CLASSIFICATION, executed, run_flow
from tests.support.pages import page_of
from tests.tasks.data.folders import few_phantoms, write_folder

NAME = "Doe_Jane_4711"
WORDS = (*CLASSIFICATION, "--evaluation.label_folds", "0")
LABELS = {0: "normal", 1: "pneumonia"}

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")


@pytest.fixture(scope="module")
def splits():
    return few_phantoms({"train": 60, "val": 32, "test": 40})


@pytest.fixture(scope="module")
def folder(splits, tmp_path_factory):
    root = write_folder(splits, tmp_path_factory.mktemp("pictures"))
    for file in list(root.rglob("*.png")):
        file.rename(file.with_name(f"{NAME}_{file.name}"))
    return root


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, folder):
    return run_flow(classification, [*WORDS, "--dataset.path", str(folder)])


def test_every_metric_is_that_of_a_file_of_the_same_images(first, splits, tmp_path):
    (tmp_path / "same.npz").write_bytes(dump_splits(splits))
    of_file, _ = run_flow(classification, [*WORDS, "--dataset.path", str(tmp_path / "same.npz")])
    found = first[0]
    assert found.dataset.kind == "own folder"
    assert found.dataset.title == "pneumoniamnist (own folder)"
    assert found.dataset.splits == of_file.dataset.splits  # one content, stored once
    assert found.evaluation.metrics == of_file.evaluation.metrics
    assert found.predictions.outputs == of_file.predictions.outputs


def test_an_untouched_folder_is_a_hit_wherever_it_lies(first, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    again, steps = run_flow(classification, [*WORDS, "--dataset.path", str(copy)])
    assert executed(steps) == set()
    assert again.evaluation == first[0].evaluation


def test_where_each_image_comes_from_is_in_mlflow_beside_the_audit(first, folder, splits):
    client = MlflowClient(tracking_uri())
    run = client.get_run(first[0].run.run_id)
    assert run.inputs.dataset_inputs[0].dataset.digest == first[0].dataset.md5 == list_folder(folder, LABELS, "").md5
    logged = {
        name: Path(client.download_artifacts(run.info.run_id, name)).read_text()
        for name in ("data_splits.csv", "report.md")
    }
    rows = list(csv.DictReader(io.StringIO(logged["data_splits.csv"])))
    assert len(rows) == 132
    arrays = Store().get_arrays(first[0].dataset.splits)
    for row in rows[::17]:
        assert LABELS[int(arrays[f"{row['split']}_labels"][int(row["index"])])] == row["class"]
    said = "The splits are those of the folder. Names tell 0 patients apart; of 132 images nothing says"
    assert said in logged["report.md"]
    assert "Data audit" in page_of(first[0].flow_run_id)  # which names the section and leads to it


def test_no_name_of_a_file_leaves_the_folder(first, folder, shared_outputs, tmp_path, capsys):
    wrong = shutil.copytree(folder, tmp_path / "wrong")
    (wrong / "val" / "PNEUMONIA" / f"{NAME}.png").write_text("no picture")
    told = _mistake(wrong, capsys)
    assert "wrong: val/PNEUMONIA, image " in told
    database = Path(PREFECT_API_DATABASE_CONNECTION_URL.value().partition("///")[2])
    files = [file for file in shared_outputs.rglob("*") if file.is_file()] + list(database.parent.glob("*.db*"))
    assert len(files) > 100
    assert any(b"wrong: val/PNEUMONIA, image " in file.read_bytes() for file in files)  # the state of the run
    holding = [file for file in files if NAME.encode() in file.read_bytes()]
    assert holding == []
    assert NAME not in told + "".join(capsys.readouterr())


def test_a_colour_set_and_a_wrong_folder_are_one_sentence(folder, capsys, tmp_path):
    told = _mistake(folder, capsys, "--dataset.name", "bloodmnist", "--training.loss", "balanced_cross_entropy")
    assert "is a folder, whose pictures are read in grey, but the images of bloodmnist are in colour: " in told
    assert " holds no image of the class normal: " in _mistake(tmp_path, capsys)


def _mistake(folder, capsys, *words):
    capsys.readouterr()
    assert main(classification, [*WORDS, "--dataset.path", str(folder), *words]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return captured.err.splitlines()[-1]
