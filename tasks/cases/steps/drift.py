"""Step that compares people's own pictures with those that the classifier learned from."""

from collections.abc import Sequence

import numpy as np

from tasks.cases.case import Case
from tasks.execution.caching import step
from tasks.records.base import FindingsRecord
from tasks.records.cases import CasesResult, PictureFile, PicturesRecord, ReferenceRecord
from tasks.records.classification import PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store

FEWEST, MOST = 30, 500
"""Pictures that are compared: fewer tell nothing, more would take long and tell no more."""


def counted_pictures(files: Sequence[PictureFile], found: CasesResult) -> PicturesRecord:
    """Pick the files whose cases are counted: what is foreign is told of anyway."""
    counted = {case.digest for case in map(Case.model_validate, Store().get_json(found.cases)) if case.counts}
    return PicturesRecord(files=tuple(file for file in files if file.sha256 in counted)[:MOST])


@step
def measure_drift_of_cases(
    files: PicturesRecord, reference: ReferenceRecord, predictions: PredictionsRecord, dataset: DatasetRecord
) -> FindingsRecord:
    """Compare pictures with the training images of the class that the classifier gives them."""
    from models.classifier.prediction import predict
    from tasks.cases.judging import read_pictures
    from tasks.classification.classifier_file import load_classifier
    from tasks.classification.trust.calibration import calibrated_probabilities, decide
    from tasks.retrieval.findings.drift import find_drift_of_new_images
    from tasks.retrieval.vectors import LabelledVectors

    store = Store()
    known, splits = store.get_arrays(predictions.outputs), store.get_arrays(dataset.splits)
    pictures, _ = read_pictures(files.files, reference.size, reference.channels)
    loaded = load_classifier(store.get(reference.classifier.weights))
    outputs = predict(loaded.model, np.stack([picture.image for picture in pictures]), loaded.normalization)
    labels = decide(calibrated_probabilities(outputs.logits, reference.temperature), reference.threshold)
    train_labels = np.delete(splits["train_labels"], dataset.excluded_train)
    return find_drift_of_new_images(
        LabelledVectors(known["train_embeddings"], train_labels),
        LabelledVectors(outputs.embeddings, labels),
        LabelledVectors(known["val_embeddings"], splits["val_labels"]),
        list(range(len(pictures))),
        dataset.labels,
    ).stored(store)
