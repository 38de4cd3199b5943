"""The neighbours: hubs among them, near-duplicates, and what they say about the classifier's errors."""

import numpy as np

from tasks.retrieval.analyses import hubness, near_duplicates, neighbour_evidence
from tasks.retrieval.evidence import Evidence
from tasks.retrieval.figures import analyses as figures
from tasks.retrieval.settings import BOOTSTRAP_SEED, SPLITS
from tasks.shared.findings import Findings
from tasks.shared.markdown import picture
from tasks.shared.pixel_correlation import MOST_IMAGES

_HUBS = picture(
    "hubness",
    "How often images are found: hubs, found far more often than by chance, crowd out others, antihubs never are.",
)
_EVIDENCE = picture(
    "error_detection", "How well confidence, neighbours and both point at errors: the further up and left, the better."
)
_DUPLICATES = picture("near_duplicates", "Images that are nearly the same, in pairs: red where their labels differ.")


def find_about_neighbours(evidence: Evidence, *, samples: int) -> Findings:
    """Analyse the nearest test and train images of each test image.

    Args:
        evidence: what is known of the test images.
        samples: bootstrap samples.

    Returns:
        The findings, without near-duplicates where there are too many images to compare all pairs.
    """
    arrays, neighbours, class_names = evidence.arrays, evidence.neighbours, evidence.class_names
    labels, predicted, test_ids = evidence.labels, evidence.predictions["predicted"], neighbours["test_ids"]
    bootstrap, source = {"samples": samples, "seed": BOOTSTRAP_SEED}, evidence.source
    ids = np.arange(len(labels), dtype=np.int64)
    hubs = hubness.measure_hubness(test_ids[:, : hubness.K], ids, labels, ids, labels)
    support = neighbour_evidence.support(
        neighbours["train_similarities"], arrays["train_labels"][neighbours["train_ids"]], predicted
    )
    detection = neighbour_evidence.detect_errors(
        evidence.predictions["confidence"], support, predicted != labels, **bootstrap
    )
    pictures = {
        "hubness": figures.hubness_overview(hubs, evidence.images, class_names, source=source),
        "error_detection": figures.error_detection(detection, source=source),
    }
    metrics = hubness.hubness_metrics(hubs) | neighbour_evidence.evidence_metrics(detection)
    sections = [
        ("Hubs", _HUBS + hubness.hubness_markdown(hubs, class_names)),
        ("Neighbours as evidence", _EVIDENCE + neighbour_evidence.evidence_markdown(detection)),
    ]
    images = {split: arrays[f"{split}_images"] for split in SPLITS}
    if sum(map(len, images.values())) <= MOST_IMAGES:
        pairs = near_duplicates.find_near_duplicates(images, {split: arrays[f"{split}_labels"] for split in SPLITS})
        left_out = near_duplicates.items_to_leave_out(pairs, "test", "test")
        effect = near_duplicates.measure_effect(test_ids, labels[test_ids], ids, labels, left_out, **bootstrap)
        pictures["near_duplicates"] = figures.near_duplicate_pairs(pairs, images, class_names, source=source)
        metrics |= near_duplicates.duplicate_metrics(pairs, effect)
        sections.append(("Near-duplicates", _DUPLICATES + near_duplicates.duplicate_markdown(pairs, effect)))
        if pairs:
            sections.append(("Near-duplicates, pair by pair", near_duplicates.duplicate_list(pairs, class_names)))
    return Findings("neighbours", metrics, metrics, pictures, tuple(sections))
