import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import medmnist
import numpy as np
import pytest

from models.errors import InputError
from tasks.data.pictures.image_file import read_image
from tasks.data.steps import locate_source, prepare_dataset, smallest_test_class
from tasks.data.validation import ARRAYS
from tasks.parameters.dataset import DatasetParameters
from tasks.records.data import SourceRecord
from tasks.shared.model_size import to_model_size
from tasks.storage.store import Store
from tests.tasks.data.folders import few_phantoms, write_classes, write_folder

pytestmark = pytest.mark.usefixtures("outputs")


def prepare(content: bytes, folder: Path, **fields):
    file = folder / "mine.npz"
    file.write_bytes(content)
    return prepare_dataset.fn(locate_source(DatasetParameters(path=str(file), **fields)), None)


@pytest.mark.parametrize(
    ("name", "classes", "channels"), [("pathmnist", 9, 3), ("retinamnist", 5, 3), ("organamnist", 11, 1)]
)
def test_any_set_becomes_a_record(
    name: str, classes: int, channels: int, medmnist_file: Callable[[int, int], bytes], tmp_path
):
    content = medmnist_file(classes, channels)
    record = prepare(content, tmp_path, name=name)
    words = tuple(medmnist.INFO[name]["label"].values())
    assert (record.name, record.labels, record.channels, record.size) == (name, words, channels, 28)
    assert record.counts == {"train": 40, "val": 20, "test": 30}
    assert not record.phantoms
    store = Store()
    (tmp_path / "stored.npz").write_bytes(store.get(record.splits))
    with np.load(tmp_path / "stored.npz") as stored, np.load(tmp_path / "mine.npz") as given:
        for array in ARRAYS:
            assert np.array_equal(stored[array], given[array].reshape(stored[array].shape))
        assert stored["train_images"].shape == ((40, 28, 28) if channels == 1 else (40, 28, 28, 3))
    audit = json.loads(store.get(record.audit))
    assert audit["splits"]["train"]["counts"] == {
        word: len(range(label, 40, classes)) for label, word in enumerate(words)
    }
    table = store.get(record.audit_table).decode()
    assert all(f"| {word} | " in table for word in words)


def test_grey_file_for_a_colour_set_is_refused(medmnist_file: Callable[[int, int], bytes], tmp_path):
    with pytest.raises(InputError, match=r"mine\.npz: train_images holds grey images .*: expected colour images"):
        prepare(medmnist_file(7, 1), tmp_path, name="dermamnist")


@pytest.mark.parametrize("limit", [None, 32, 160, 500])
def test_the_smaller_class_of_the_test_split_is_known_before_it_is_read(limit, official_file, monkeypatch):
    monkeypatch.setenv("DATA", str(official_file.parent))
    source = locate_source(DatasetParameters())
    drawn = SourceRecord(name="pneumoniamnist", kind="phantoms", size=28, sha256="", md5="", path="")
    for each in (source, drawn):
        record = prepare_dataset.fn(each, limit)
        labels = Store().get_arrays(record.splits)["test_labels"]
        assert smallest_test_class(each, limit) == np.bincount(labels).min()


def test_a_limit_is_part_of_what_the_data_are_called_where_it_leaves_any_out(official_file, monkeypatch):
    monkeypatch.setenv("DATA", str(official_file.parent))
    source = locate_source(DatasetParameters())
    whole, part, all_of_it = (prepare_dataset.fn(source, limit) for limit in (None, 600, 1_000_000))
    assert (whole.title, whole.digest, whole.trial) == ("pneumoniamnist", source.md5, None)
    assert all_of_it == whole
    assert part.counts["val"] == 524  # smaller than the limit, and yet not all of the data
    assert (part.title, part.digest) == ("pneumoniamnist (first 600 of each split)", f"{source.md5[:28]}-600")
    assert part.trial == "the first 600 images of each split are a part of the data, for a try"
    drawn = SourceRecord(name="pneumoniamnist", kind="phantoms", size=28, sha256="", md5="", path="")
    phantoms = prepare_dataset.fn(drawn, 32)
    assert phantoms.title == "pneumoniamnist (drawn phantoms, first 32 of each split)"
    assert phantoms.trial == "drawn phantoms are no data"


def test_the_classes_of_ones_own_file_are_not_known_before_it_is_read(
    medmnist_file: Callable[[int, int], bytes], tmp_path
):
    (tmp_path / "mine.npz").write_bytes(medmnist_file(2, 1))
    source = locate_source(DatasetParameters(path=str(tmp_path / "mine.npz")))
    assert smallest_test_class(source, 32) is None


def test_a_folder_of_classes_becomes_a_record_divided_by_patient(tmp_path):
    names = {
        "NORMAL": [f"IM-{number:04}-{image:04}.jpeg" for number in range(20) for image in (1, 2)],
        "PNEUMONIA": [f"person{number}_virus_{image}.jpeg" for number in range(20) for image in (1, 2)],
    }
    source = locate_source(DatasetParameters(path=str(write_classes(names, tmp_path / "own"))))
    record, store = prepare_dataset.fn(source, None), Store()
    assert (record.kind, record.md5, record.title) == ("own folder", source.md5, "pneumoniamnist (own folder)")
    assert smallest_test_class(source, None) is None
    rows = list(csv.DictReader(io.StringIO(store.get(record.listing).decode())))
    assert {row["file"] for row in rows} == {*names["NORMAL"], *names["PNEUMONIA"]}
    assert len({(row["patient"], row["split"]) for row in rows}) == len({row["patient"] for row in rows}) == 40
    assert record.counts == {split: sum(row["split"] == split for row in rows) for split in ("train", "val", "test")}
    arrays = store.get_arrays(record.splits)
    for row in rows:
        picture = to_model_size(read_image(tmp_path / "own" / row["class"].upper() / row["file"]), 28)
        assert np.array_equal(arrays[f"{row['split']}_images"][int(row["index"])], picture)
    assert json.loads(store.get(record.audit))["folder"]["patients"] == 40
    assert "images of one patient, and identical files, stay together" in store.get(record.audit_table).decode()


def test_identical_images_of_two_splits_are_in_the_audit_of_a_folder(tmp_path):
    folder = write_folder(few_phantoms({"train": 12, "val": 6, "test": 8}), tmp_path / "own")
    for file, other in zip(sorted((folder / "train" / "NORMAL").iterdir()), ("val", "test"), strict=False):
        shutil.copy(file, folder / other / "NORMAL" / "copy.png")
    record = prepare_dataset.fn(locate_source(DatasetParameters(path=str(folder))), None)
    overlaps = {(each["first"], each["second"]): each for each in json.loads(Store().get(record.audit))["overlaps"]}
    assert [overlaps[pair]["pairs"] for pair in (("train", "val"), ("train", "test"), ("val", "test"))] == [1, 1, 0]
    assert record.excluded_train == (0,)


def test_a_folder_that_changes_while_it_is_read_is_refused(tmp_path):
    folder = write_folder(few_phantoms({"train": 12, "val": 6, "test": 8}), tmp_path / "own")
    source = locate_source(DatasetParameters(path=str(folder)))
    next((folder / "val" / "NORMAL").iterdir()).unlink()
    with pytest.raises(InputError, match=r"changed while it was being read: run again once it is complete\.$"):
        prepare_dataset.fn(source, None)
