import pytest
from pydantic import ValidationError

from models.classifier.epoch_metrics import EpochMetrics
from tasks.records.base import StoredFile
from tasks.records.classification import ClassifierRecord

FILE = StoredFile(uri="sha256/ab/ab.bin", sha256="ab", size=2, media_type="application/octet-stream")


def _classifier(**changes):
    fields = {"architecture": "resnet18_gray", "weights": FILE, "best_epoch": 3, "dataset_sha256": "cd"}
    return ClassifierRecord(**(fields | changes))


def test_identity_ignores_where_and_when_a_thing_was_made():
    epoch = EpochMetrics(
        epoch=1, train_loss=0.1, val_loss=0.1, val_auc=0.9, learning_rate=0.1, seconds=1.0, finished_at=5
    )
    plain = _classifier()
    assert plain.content_digest() == _classifier(seconds=9.0, run_id="run", history=(epoch,)).content_digest()
    moved = FILE.model_copy(update={"uri": "elsewhere"})
    assert plain.content_digest() == _classifier(weights=moved).content_digest()


@pytest.mark.parametrize(
    "change",
    [{"best_epoch": 4}, {"dataset_sha256": "ce"}, {"weights": FILE.model_copy(update={"sha256": "ac"})}],
)
def test_identity_changes_with_content(change):
    assert _classifier().content_digest() != _classifier(**change).content_digest()


def test_stored_files_are_found_at_any_depth():
    assert list(_classifier().stored_files()) == [FILE]


def test_records_are_frozen_json_and_refuse_unknown_fields():
    record = _classifier()
    with pytest.raises(ValidationError):
        record.best_epoch = 5
    with pytest.raises(ValidationError):
        _classifier(unknown=1)
    assert ClassifierRecord.model_validate_json(record.model_dump_json()) == record
