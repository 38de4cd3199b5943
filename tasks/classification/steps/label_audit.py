"""Steps that look for wrong labels: folds, a small network for each, and the audit."""

import numpy as np

from tasks.execution.caching import current_key, step
from tasks.records.base import ArrayRecord, FindingsRecord
from tasks.records.classification import FoldsRecord
from tasks.records.data import DatasetRecord
from tasks.storage.checkpoints import StoredCheckpoints
from tasks.storage.store import Store

FOLD_SEED = 0


@step
def divide_folds(dataset: DatasetRecord, count: int) -> FoldsRecord:
    """Divide the training split into parts of equal shares of the classes; near-duplicates stay together."""
    from tasks.classification.trust.label_audit import duplicate_groups, folds, near_duplicates

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    images, labels = arrays["train_images"], arrays["train_labels"]
    groups = duplicate_groups(near_duplicates(images, labels), len(labels))
    fold = folds(labels, groups, count, FOLD_SEED)
    return FoldsRecord(folds=store.put_arrays({"fold": fold}), count=count, dataset_sha256=dataset.sha256)


@step
def predict_fold(dataset: DatasetRecord, folds: FoldsRecord, part: int) -> ArrayRecord:
    """Compute the probabilities of one part of the training split by a small network trained on the others."""
    from tasks.classification.trust.held_out import held_out_probabilities

    store = Store()
    held_out = store.get_arrays(folds.folds)["fold"] == part
    checkpoints = StoredCheckpoints(store, current_key())
    probabilities = held_out_probabilities(
        store.get_arrays(dataset.splits), held_out, dataset.excluded_train, len(dataset.labels), checkpoints
    )
    stored = store.put_arrays({"probabilities": probabilities})
    checkpoints.clear()
    return ArrayRecord(arrays=stored, shapes={"probabilities": probabilities.shape})


@step
def audit_labels(dataset: DatasetRecord, folds: FoldsRecord, predictions: list[ArrayRecord]) -> FindingsRecord:
    """Look for wrong labels and near-duplicates in the training split (confident learning)."""
    from tasks.classification.trust.doubtful_labels import (
        HOW_TO_CORRECT,
        TABLE,
        TASKS,
        doubtful_table,
        label_studio_tasks,
    )
    from tasks.classification.trust.findings import label_findings
    from tasks.classification.trust.label_audit import LabelIssue
    from tasks.shared.figures import Source

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    fold = store.get_arrays(folds.folds)["fold"]
    parts = [store.get_arrays(prediction.arrays)["probabilities"] for prediction in predictions]
    probabilities = np.empty((len(fold), *parts[0].shape[1:]))
    for part, values in enumerate(parts):
        probabilities[fold == part] = values
    images, labels = arrays["train_images"], arrays["train_labels"]
    source = Source.of(dataset, f"small networks, {len(predictions)} folds")
    found = label_findings(probabilities, labels, images, class_names=dataset.labels, source=source)
    record, issues = found.stored(store), [LabelIssue(**issue) for issue in found.details["issues"]]
    if dataset.limit is not None or not issues:  # of a part of the data the places are those of no file
        return record
    files = {
        TABLE: store.put(doubtful_table(issues, dataset.labels), "text/csv"),
        TASKS: store.put_json(label_studio_tasks(issues, images, dataset.labels)),
    }
    (title, text), *rest = record.sections
    return record.model_copy(update={"files": files, "sections": ((title, f"{text}\n{HOW_TO_CORRECT}"), *rest)})
