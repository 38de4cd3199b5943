"""The queries that fail: what they have in common, and whether another way to search would help them."""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from models.choices import Similarity
from tasks.retrieval.analyses import failure_patterns
from tasks.retrieval.analyses.failures import failed_queries, worst_queries
from tasks.retrieval.evidence import Evidence
from tasks.retrieval.figures import failures as figures
from tasks.retrieval.findings.json_values import without_nan
from tasks.retrieval.metrics.ranking import RankingResult
from tasks.retrieval.settings import BOOTSTRAP_SEED, FAILURE_K
from tasks.retrieval.vectors import exact_neighbours
from tasks.shared.findings import Findings
from tasks.shared.markdown import picture

_PICTURES = picture(
    "hardest_queries", "The hardest queries, searched in three ways: a green row shows what would have helped."
) + picture(
    "failure_patterns",
    "Whether retrieval and classifier fail together, and by what failed queries differ from the others.",
)

HARDEST = 2  # queries of each class in the comparison of ways to search


def find_failures(
    evidence: Evidence,
    result: RankingResult,
    vectors: NDArray[np.floating],
    *,
    similarity: Similarity,
    columns: int,
    samples: int,
) -> Findings:
    """Compare failed queries with the others, and show the hardest ones searched in three ways.

    Args:
        evidence: what is known of the test images.
        result: of leave-one-out over them, in their order.
        vectors: shape (images, dimension).
        similarity: by which they are near.
        columns: neighbours shown per query.
        samples: bootstrap samples.

    Returns:
        The findings.
    """
    images, labels, class_names = evidence.images, evidence.labels, evidence.class_names
    predicted = evidence.predictions["predicted"]
    failed = failed_queries(result, k=FAILURE_K)
    patterns = failure_patterns.count_patterns(failed, predicted != labels, labels, class_names)
    properties = failure_patterns.image_properties(images) | {
        "confidence": evidence.predictions["confidence"],
        "popularity of the neighbours": failure_patterns.neighbour_popularity(
            evidence.neighbours["test_ids"][:, :FAILURE_K]
        ),
    }
    effects = failure_patterns.compare_failed(
        properties, failed, labels, class_names, samples=samples, seed=BOOTSTRAP_SEED
    )
    hardest = np.concatenate(
        [worst_queries(result, HARDEST, k=FAILURE_K, label=label) for label in range(len(class_names))]
    )
    everywhere = np.arange(len(labels), dtype=np.int64)
    of_class = [everywhere[labels == label] for label in range(len(class_names))]
    ways = {
        "of all": [everywhere] * len(hardest),
        "of the predicted class": [of_class[predicted[query]] for query in hardest],
        "of the true class (upper bound)": [of_class[labels[query]] for query in hardest],
    }
    found = {title: exact_neighbours(vectors, hardest, among, columns, similarity) for title, among in ways.items()}
    pictures = {
        "hardest_queries": figures.neighbour_comparison(
            images[hardest],
            hardest,
            labels[hardest],
            predicted[hardest],
            [figures.NeighbourGroup(title, images[near.ids], labels[near.ids], near) for title, near in found.items()],
            class_names,
            title="The hardest queries of each class: their nearest images, searched for in three ways",
            source=evidence.source,
        ),
        "failure_patterns": figures.failure_patterns(patterns, effects, k=FAILURE_K, source=evidence.source),
    }
    return Findings(
        name="failures",
        metrics={},
        details={
            "patterns": [asdict(each) for each in patterns],
            "effects": [without_nan(asdict(each)) for each in effects],
        },
        figures=pictures,
        sections=(
            ("Failure patterns", _PICTURES + failure_patterns.patterns_markdown(patterns, effects, k=FAILURE_K)),
        ),
    )
