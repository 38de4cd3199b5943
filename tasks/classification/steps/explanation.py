"""Steps that map the evidence for a class and check the maps."""

import numpy as np

from tasks.execution.caching import step
from tasks.records.base import ArrayRecord, FindingsRecord
from tasks.records.classification import CalibrationRecord, ClassifierRecord, PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store


@step
def explain_classifier(
    dataset: DatasetRecord, classifier: ClassifierRecord, predictions: PredictionsRecord, calibration: CalibrationRecord
) -> ArrayRecord:
    """Map the evidence (Grad-CAM): for two classes of class 1 in each test image, and in some images for a pair."""
    from models.explanation.grad_cam import grad_cam
    from tasks.classification.classifier_file import load_classifier
    from tasks.classification.predictions import Predictions
    from tasks.classification.trust.calibration import calibrated_probabilities

    store = Store()
    model, normalization, _ = load_classifier(store.get(classifier.weights))
    images = store.get_arrays(dataset.splits)["test_images"]
    outputs = store.get_arrays(predictions.outputs)
    probabilities = calibrated_probabilities(outputs["test_logits"], calibration.temperature)
    found = Predictions(probabilities, outputs["test_labels"], calibration.threshold, dataset.labels)
    shown = found.explained_cases()
    targets = found.explained_classes[shown]
    pairs = [grad_cam(model, images[shown], normalization, target=target) for target in targets.T]
    arrays: dict[str, np.ndarray] = {"shown": shown, "pairs": np.stack(pairs, axis=1)}
    if model.classes == 2:  # what the reports quote
        arrays["maps"] = grad_cam(model, images, normalization, target=1)
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


@step
def explain_cases(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    explanation: ArrayRecord,
    indices: tuple[int, ...],
    classes: tuple[int, ...],
) -> ArrayRecord:
    """Map the evidence for a class in each of some test images, or take the maps of class 1 that there are already."""
    from models.explanation.grad_cam import grad_cam
    from tasks.classification.classifier_file import load_classifier

    store, chosen = Store(), list(indices)
    if "maps" in explanation.shapes and set(classes) <= {1}:
        maps = store.get_arrays(explanation.arrays)["maps"][chosen]
    else:
        model, normalization, _ = load_classifier(store.get(classifier.weights))
        images = store.get_arrays(dataset.splits)["test_images"][chosen]
        maps = grad_cam(model, images, normalization, target=np.array(classes))
    return ArrayRecord(arrays=store.put_arrays({"maps": maps}), shapes={"maps": maps.shape})


@step
def check_explanation(dataset: DatasetRecord, classifier: ClassifierRecord, images: int, draws: int) -> FindingsRecord:
    """Check on some test images that the maps depend on the model, and that they point at what it uses."""
    from tasks.classification.classifier_file import load_classifier
    from tasks.classification.explanation.checks import check_maps
    from tasks.classification.explanation.report import spread_sample
    from tasks.shared.figures import Source

    store = Store()
    loaded = load_classifier(store.get(classifier.weights))
    splits = store.get_arrays(dataset.splits)
    sample = splits["test_images"][spread_sample(splits["test_labels"], images)]
    found = check_maps(
        loaded, sample, draws=draws, class_names=dataset.labels, source=Source.of(dataset, classifier.title)
    )
    return found.stored(store)
