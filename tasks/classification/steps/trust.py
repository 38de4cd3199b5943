"""The step that measures how far the classifier can be relied on."""

import numpy as np

from tasks.execution.caching import step
from tasks.records.base import ArrayRecord, FindingsRecord
from tasks.records.classification import CalibrationRecord, PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store


@step
def assess_trust(
    dataset: DatasetRecord,
    predictions: PredictionsRecord,
    calibration: CalibrationRecord,
    corrupted: ArrayRecord | None = None,
) -> FindingsRecord:
    """Measure how far the classifier can be relied on: conformal sets, shift from validation to test, failures."""
    from tasks.classification.trust.calibration import calibrated_probabilities
    from tasks.classification.trust.conformal_under_shift import StandIn
    from tasks.classification.trust.findings import trust_findings
    from tasks.classification.trust.shift import split_outputs
    from tasks.shared.figures import Source

    store = Store()
    arrays, outputs = store.get_arrays(dataset.splits), store.get_arrays(predictions.outputs)
    validation, test = (
        split_outputs(split, arrays, outputs, calibration.temperature, calibration.threshold)
        for split in ("val", "test")
    )
    stand_in = None
    if corrupted is not None:
        images = store.get_arrays(corrupted.arrays)
        logits = images["logits"]
        labels = np.tile(outputs["val_labels"][images["images"]], logits[..., 0].size)
        stand_in = StandIn(calibrated_probabilities(logits.ravel(), calibration.temperature), labels)
    found = trust_findings(
        validation,
        test,
        calibration.threshold,
        outputs["train_embeddings"],
        np.delete(arrays["train_labels"], dataset.excluded_train),
        class_names=dataset.labels,
        source=Source.of(dataset, predictions.classifier),
        stand_in=stand_in,
    )
    return found.stored(store)
