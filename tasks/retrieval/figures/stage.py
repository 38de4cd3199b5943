"""All figures of the stage that belong to no single analysis."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.analyses.failures import evenly_spaced, failed_queries
from tasks.retrieval.evidence import Evidence
from tasks.retrieval.figures.evaluation import class_map_bars, gallery, precision_at_k_curves
from tasks.retrieval.figures.projection import projection_scatter
from tasks.retrieval.metrics.protocols import Protocols
from tasks.retrieval.settings import BOOTSTRAP_SEED, FAILURE_K


def draw_stage(
    evidence: Evidence,
    protocols: Protocols,
    plane: Mapping[str, NDArray],
    worst: Sequence[int],
    *,
    galleries: int,
    columns: int,
    samples: int,
) -> dict[str, bytes]:
    """Draw them.

    Args:
        evidence: what is known of the test images.
        protocols: what was measured of them.
        plane: their coordinates: `tsne` and `umap`.
        worst: positions of the worst queries that are shown.
        galleries: evenly spaced queries that are shown.
        columns: neighbours shown per query.
        samples: bootstrap samples of the intervals.

    Returns:
        PNG bytes by name of the figure.
    """
    arrays, predictions = evidence.arrays, evidence.predictions
    class_names, source = evidence.class_names, evidence.source
    loo, ranked = protocols.ranked["loo"].result, list(protocols.ranked.values())

    def show(queries: NDArray[np.int64], split: str, title: str) -> bytes:
        near = evidence.near(split, queries, columns)
        return gallery(
            arrays["test_images"][queries],
            queries,
            arrays["test_labels"][queries],
            arrays[f"{split}_images"][near.ids],
            arrays[f"{split}_labels"][near.ids],
            near,
            class_names,
            title=title,
            source=source,
        )

    bootstrap = {"samples": samples, "seed": BOOTSTRAP_SEED}
    evenly = evenly_spaced(np.arange(len(arrays["test_images"])), galleries)
    return {
        "precision_at_k": precision_at_k_curves(ranked, class_names, **bootstrap, source=source),
        "map_by_class": class_map_bars(ranked, class_names, **bootstrap, source=source),
        "projection": projection_scatter(
            plane["tsne"],
            plane["umap"],
            loo.query_labels,
            predictions["predicted"] == loo.query_labels,
            predictions["confidence"],
            failed_queries(loo, k=FAILURE_K),
            class_names,
            failure=f"retrieval fails (precision@{FAILURE_K} < ½)",
            source=source,
        ),
        "gallery_test": show(evenly, "test", "Test images, evenly spaced by index, and their nearest test images"),
        "gallery_train": show(evenly, "train", "Test images, evenly spaced by index, and their nearest train images"),
        "gallery_worst": show(
            np.array(worst, dtype=np.int64), "test", f"Worst queries by Hit@{FAILURE_K}, and their nearest test images"
        ),
    }
