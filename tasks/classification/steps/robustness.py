"""Steps that corrupt images, let the classifier predict them, and say what that does to it."""

from typing import Literal

import numpy as np

from tasks.execution import progress
from tasks.execution.caching import step
from tasks.records.base import ArrayRecord, FindingsRecord
from tasks.records.classification import CalibrationRecord, ClassifierRecord, PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store


@step
def predict_corrupted(
    dataset: DatasetRecord, classifier: ClassifierRecord, split: Literal["val", "test"], images: int
) -> ArrayRecord:
    """Predict the images of a split in every corruption of MedMNIST-C.

    The arrays are `logits`, shape (kinds, severities, images), and `images`, the positions of these images in the
    split: all, or as many as are asked for, of all classes in turn.
    """
    from models.classifier.corruptions import CORRUPTIONS, SEVERITIES, corrupt
    from models.classifier.prediction import predict
    from tasks.classification.classifier_file import load_classifier
    from tasks.classification.explanation.report import spread_sample

    store = Store()
    splits = store.get_arrays(dataset.splits)
    model, normalization, _ = load_classifier(store.get(classifier.weights))
    chosen = np.sort(spread_sample(splits[f"{split}_labels"], images))
    clean, logits = splits[f"{split}_images"][chosen], []
    with progress.shown(f"corruptions of {'validation' if split == 'val' else split}", len(CORRUPTIONS)) as shown:
        for kind in CORRUPTIONS:
            corrupted = [corrupt(clean, kind, severity) for severity in SEVERITIES]
            logits.append([predict(model, each, normalization).logits for each in corrupted])
            progress.advance(shown, 1)
    arrays = {"logits": np.array(logits), "images": chosen}
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


@step
def assess_robustness(
    dataset: DatasetRecord,
    predictions: PredictionsRecord,
    calibration: CalibrationRecord,
    validation: ArrayRecord,
    test: ArrayRecord,
) -> FindingsRecord:
    """Count the errors that the corruptions bring, of the predictions of either split."""
    from tasks.classification.trust.findings import robustness_findings
    from tasks.shared.figures import Source

    assert calibration.threshold is not None  # the corruptions are those of a set of two classes
    store = Store()
    found = robustness_findings(
        store.get_arrays(predictions.outputs),
        {"val": store.get_arrays(validation.arrays), "test": store.get_arrays(test.arrays)},
        calibration.temperature,
        calibration.threshold,
        source=Source.of(dataset, predictions.classifier),
    )
    return found.stored(store)
