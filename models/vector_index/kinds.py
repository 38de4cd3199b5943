"""Which structure holds the vectors, and what "near" means."""

import faiss

from models.choices import IndexKind, Similarity

Kind = IndexKind
Metric = Similarity

# A flat search reads every vector: 10⁵ × 512 take about 10 ms per query and core, still quick, and the answer is exact.
FLAT_LIMIT = 100_000
# A graph lives in memory: 2·10⁶ × 512 take 2.2 GiB and their building the better part of an hour on two cores.
# Inverted lists are built several times faster and can stay on disk.
HNSW_LIMIT = 2_000_000


def choose_kind(size: int) -> Kind:
    """Choose the structure by the number of vectors: exact while that is quick, a graph while it fits, lists beyond.

    Args:
        size: number of vectors.

    Returns:
        The kind.
    """
    if size <= FLAT_LIMIT:
        return "flat"
    return "hnsw" if size <= HNSW_LIMIT else "ivf"


def faiss_metric(metric: Metric) -> int:
    """Name the metric as FAISS does.

    Args:
        metric: the metric.

    Returns:
        FAISS's constant: the inner product, which is the cosine of normalised vectors, or the squared distance.
    """
    return int(faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2)
