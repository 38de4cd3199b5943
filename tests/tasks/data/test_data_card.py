"""The data card, read back by the reference implementation of Croissant."""

import hashlib
import json
from pathlib import Path

import mlcroissant
import numpy as np
import pytest

from models.notices import PHANTOM_NOTICE
from tasks.data.steps import locate_source, prepare_dataset
from tasks.data.validation import SPLITS
from tasks.parameters.dataset import DatasetParameters
from tasks.records.data import UNKNOWN_LICENCE, SourceRecord
from tasks.storage.store import Store
from tests.tasks.data.folders import few_phantoms, write_folder

pytestmark = pytest.mark.usefixtures("outputs")


def prepared(**fields):
    return prepare_dataset.fn(locate_source(DatasetParameters(**fields)), None)


def card_of(record):
    """Read a card as others do; what it gets wrong raises."""
    written = json.loads(Store().get(record.card))
    card = mlcroissant.Dataset(jsonld=written)
    assert not card.metadata.ctx.issues.errors
    return written, card


def assert_counts(card, record):
    arrays = Store().get_arrays(record.splits)
    found = list(card.records("classes"))
    assert [row["classes/name"] for row in found] == list(record.labels)
    for split in SPLITS:
        expected = np.bincount(arrays[f"{split}_labels"], minlength=len(record.labels))
        assert [row[f"classes/{split}"] for row in found] == expected.tolist()
    assert {row["splits/name"]: row["splits/images"] for row in card.records("splits")} == record.counts


def test_the_official_file_is_described_with_its_source_and_what_its_audit_found(official_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA", str(official_file.parent))
        record = prepared()
    written, card = card_of(record)
    assert_counts(card, record)
    (file,) = written["distribution"]
    assert file["sha256"] == hashlib.sha256(official_file.read_bytes()).hexdigest()
    assert file["md5"] == "28209eda62fecd6e6a2d98b1501bb15f"
    assert file["contentUrl"].startswith("https://zenodo.org/records/10519652/files/pneumoniamnist.npz")
    assert written["license"] == "https://creativecommons.org/licenses/by/4.0/"
    assert "pediatric chest X-Ray" in written["description"]
    audit = Store().get_json(record.audit)
    shared = next(each for each in audit["overlaps"] if (each["first"], each["second"]) == ("train", "val"))
    limits = " ".join(written["rai:dataLimitations"])
    assert f"{shared['distinct']} images occur in both train and val" in limits
    assert f"{len(record.excluded_train)} training images leave training" in limits
    assert "Shares of the classes in test: normal 37.5%, pneumonia 62.5%." in written["rai:dataBiases"]


def test_ones_own_colour_file_has_no_licence_that_is_known(medmnist_file, tmp_path):
    (tmp_path / "mine.npz").write_bytes(medmnist_file(7, 3))
    record = prepared(name="dermamnist", path=str(tmp_path / "mine.npz"))
    written, card = card_of(record)
    assert_counts(card, record)
    assert record.licence == written["license"] == UNKNOWN_LICENCE
    assert "zenodo" not in json.dumps(written)
    assert str(tmp_path) not in json.dumps(written)  # the card is handed on, the folder is not


def test_a_folder_and_phantoms_are_described_as_what_they_are(tmp_path):
    write_folder(few_phantoms({"train": 12, "val": 6, "test": 6}), tmp_path / "mine")
    record = prepared(path=str(tmp_path / "mine"))
    _, card = card_of(record)
    assert_counts(card, record)
    drawn = SourceRecord(name="pneumoniamnist", kind="phantoms", size=28, sha256="", md5="")
    written, card = card_of(prepare_dataset.fn(drawn, 64))
    assert written["description"].startswith(PHANTOM_NOTICE)
    assert written["license"] == "none: drawn"
    assert Path(written["distribution"][0]["contentUrl"]).name == "pneumoniamnist-phantoms.npz"
