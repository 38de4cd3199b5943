"""The checks of the Grad-CAM maps: whether they depend on the model, and whether they point at what it uses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.classifier.prediction import predict
from models.explanation.deletion_insertion import remove_pixels
from models.explanation.grad_cam import grad_cam
from models.explanation.weight_randomisation import edge_maps, randomise_weights
from tasks.classification.classifier_file import LoadedClassifier
from tasks.classification.explanation import figures
from tasks.classification.explanation.report import explanation_metrics, explanation_report, maps_of_other_images
from tasks.shared.figures import Source
from tasks.shared.findings import Findings


def check_maps(
    classifier: LoadedClassifier,
    images: NDArray[np.uint8],
    *,
    draws: int,
    class_names: Sequence[str],
    source: Source,
) -> Findings:
    """Check the maps of some images, each of the class that the model predicts.

    Args:
        classifier: the classifier.
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        draws: number of untrained networks that the maps are compared with.
        class_names: by label.
        source: what the figures are made from.

    Returns:
        Randomisation of the weights (Adebayo et al., 2018), deletion and insertion (Petsiuk et al., 2018).
    """
    model, normalization, _ = classifier
    logits = predict(model, images, normalization, flip=False).logits
    predicted = (logits > 0).astype(np.int64) if model.classes == 2 else logits.argmax(axis=1)
    edges = edge_maps(images)
    explainers = {
        "Grad-CAM": lambda network: grad_cam(network, images, normalization, target=predicted),
        "edges": lambda network: edges,
    }
    randomisation = randomise_weights(model, images, normalization, explainers, draws=draws)
    maps = grad_cam(model, images, normalization, target=predicted)
    scores = {
        "Grad-CAM": maps,
        "map of another image": maps_of_other_images(maps, predicted),
        "brightest first": images.reshape(*images.shape[:3], -1).mean(axis=-1),
    }
    removal = remove_pixels(model, images, normalization, scores, predicted)
    metrics = explanation_metrics(randomisation, removal)
    return Findings(
        name="explanation",
        metrics=metrics,
        details=metrics,
        figures={
            "grad_cam_randomisation": figures.randomisation_curve(randomisation, source=source),
            "grad_cam_randomisation_examples": figures.randomisation_montage(images, randomisation, source=source),
            "grad_cam_deletion_insertion": figures.deletion_insertion_curves(removal, source=source),
        },
        sections=(("Explanation", explanation_report(randomisation, removal, class_names=class_names)),),
    )
