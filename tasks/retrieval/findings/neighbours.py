"""The neighbours: hubs among them, near-duplicates, and what they say about the classifier's errors."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.analyses import hubness, near_duplicates, neighbour_evidence
from tasks.retrieval.figures import analyses as figures
from tasks.retrieval.settings import SPLITS
from tasks.shared.findings import Findings
from tasks.shared.pixel_correlation import MOST_IMAGES


def find_about_neighbours(
    arrays: Mapping[str, NDArray],
    predictions: Mapping[str, NDArray],
    neighbours: Mapping[str, NDArray],
    class_names: Sequence[str],
    *,
    samples: int,
    seed: int,
    phantoms: bool,
) -> Findings:
    """Analyse the nearest test and train images of each test image.

    Args:
        arrays: of the dataset: `{split}_images`, `{split}_labels`.
        predictions: of the classifier for the test images: `predicted` and `confidence`, each of shape (images,).
        neighbours: `{split}_ids` and `{split}_similarities` of the nearest test and train images, nearest first, each
            of shape (test images, k).
        class_names: by label.
        samples: bootstrap samples.
        seed: seed of the bootstrap.
        phantoms: whether the data are drawn phantoms.

    Returns:
        The findings, without near-duplicates where there are too many images to compare all pairs.
    """
    labels, predicted, test_ids = arrays["test_labels"], predictions["predicted"], neighbours["test_ids"]
    ids = np.arange(len(labels), dtype=np.int64)
    hubs = hubness.measure_hubness(test_ids[:, : hubness.K], ids, labels, ids, labels)
    support = neighbour_evidence.support(
        neighbours["train_similarities"], arrays["train_labels"][neighbours["train_ids"]], predicted
    )
    detection = neighbour_evidence.detect_errors(
        predictions["confidence"], support, predicted != labels, samples=samples, seed=seed
    )
    pictures = {
        "hubness": figures.hubness_overview(hubs, arrays["test_images"], class_names, phantoms=phantoms),
        "error_detection": figures.error_detection(detection, phantoms=phantoms),
    }
    metrics = hubness.hubness_metrics(hubs) | neighbour_evidence.evidence_metrics(detection)
    sections = [
        ("Hubs", hubness.hubness_markdown(hubs, class_names)),
        ("Neighbours as evidence", neighbour_evidence.evidence_markdown(detection)),
    ]
    images = {split: arrays[f"{split}_images"] for split in SPLITS}
    if sum(map(len, images.values())) <= MOST_IMAGES:
        pairs = near_duplicates.find_near_duplicates(images, {split: arrays[f"{split}_labels"] for split in SPLITS})
        left_out = near_duplicates.items_to_leave_out(pairs, "test", "test")
        effect = near_duplicates.measure_effect(
            test_ids, labels[test_ids], ids, labels, left_out, samples=samples, seed=seed
        )
        pictures["near_duplicates"] = figures.near_duplicate_pairs(pairs, images, class_names, phantoms=phantoms)
        metrics |= near_duplicates.duplicate_metrics(pairs, effect)
        sections.append(("Near-duplicates", near_duplicates.duplicate_markdown(pairs, effect, class_names)))
    return Findings("neighbours", metrics, metrics, pictures, tuple(sections))
