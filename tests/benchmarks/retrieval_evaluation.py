"""Leave-one-out evaluation of the test split's embeddings, beside loops over queries.

Three loops, from the one that is quickest to write to the strongest: scikit-learn's functions for each query; its
similarities with precision and average precision counted in Python; and similarities of all pairs at once with NumPy
for the rest. They compute the same figures, which is asserted.
"""

import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from tasks.retrieval.ranking import RankingResult, evaluate
from tests.benchmarks.comparison import Comparison

QUERIES, DIMENSIONS = 624, 512
K_VALUES = (1, 5, 10)
REPEATS = 7

Figures = tuple[NDArray[np.float64], NDArray[np.float64]]  # precision (queries, cut-offs), average precision (queries,)


def embeddings() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw vectors and labels of the test split's size and class shares, with overlapping classes."""
    generator = np.random.default_rng(0)
    labels = (np.arange(QUERIES) % 8 < 5).astype(np.int64)
    vectors = generator.normal(size=(QUERIES, DIMENSIONS)) + 0.15 * labels[:, None]
    return vectors.astype(np.float32), labels


def sklearn_loop(vectors: NDArray, labels: NDArray) -> Figures:
    """Score each query with scikit-learn's functions."""
    precision, average_precision = [], []
    for query in range(len(vectors)):
        similarities = cosine_similarity(vectors[query : query + 1], vectors)[0]
        order = np.argsort(-similarities)
        order = order[order != query]
        relevant = labels[order] == labels[query]
        precision.append([relevant[:k].mean() for k in K_VALUES])
        average_precision.append(average_precision_score(relevant, similarities[order]))
    return np.array(precision), np.array(average_precision)


def python_loop(vectors: NDArray, labels: NDArray) -> Figures:
    """Score each query by counting along its ranking."""
    precision, average_precision = [], []
    for query in range(len(vectors)):
        similarities = cosine_similarity(vectors[query : query + 1], vectors)[0]
        order = np.argsort(-similarities)
        order = order[order != query]
        relevant = labels[order] == labels[query]
        precision.append([relevant[:k].mean() for k in K_VALUES])
        hits, total = 0, 0.0
        for rank, is_relevant in enumerate(relevant, start=1):
            if is_relevant:
                hits += 1
                total += hits / rank
        average_precision.append(total / hits)
    return np.array(precision), np.array(average_precision)


def numpy_loop(vectors: NDArray, labels: NDArray) -> Figures:
    """Score each query with NumPy, the similarities of all pairs computed beforehand."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarities = unit @ unit.T
    ranks = np.arange(1, len(vectors))
    precision, average_precision = [], []
    for query in range(len(vectors)):
        order = np.argsort(-similarities[query])
        order = order[order != query]
        relevant = labels[order] == labels[query]
        hits = np.cumsum(relevant)
        precision.append([hits[k - 1] / k for k in K_VALUES])
        average_precision.append((hits * relevant / ranks).sum() / hits[-1])
    return np.array(precision), np.array(average_precision)


def measure() -> Comparison:
    """Compare with scikit-learn's functions for each query."""
    return _compare(sklearn_loop, "scikit-learn per query", goal_ratio=100, repeats=REPEATS)


def measure_python_loop() -> Comparison:
    """Compare with figures counted in Python along each ranking."""
    return _compare(python_loop, "Python loop over ranks", goal_ratio=50, repeats=REPEATS)


def measure_numpy_loop() -> Comparison:
    """Compare with NumPy for each query."""
    return _compare(numpy_loop, "NumPy per query", goal_ratio=1.5, repeats=3 * REPEATS)


def _compare(
    reference: Callable[[NDArray, NDArray], Figures], name: str, *, goal_ratio: float, repeats: int
) -> Comparison:
    vectors, labels = embeddings()
    ids = np.arange(len(vectors))

    def ours() -> RankingResult:
        return evaluate(vectors, labels, vectors, labels, ids, ids, K_VALUES)

    _assert_same(ours(), reference(vectors, labels))
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(repeats):
        seconds["ours"].append(_timed(ours))
        seconds["reference"].append(_timed(lambda: reference(vectors, labels)))

    tracemalloc.start()
    ours()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Comparison(
        name=f"leave-one-out evaluation, {QUERIES} × {DIMENSIONS}",
        ours=median(seconds["ours"]),
        reference=median(seconds["reference"]),
        reference_name=name,
        goal_ratio=goal_ratio,
        goal_seconds=0.050,
        peak_mib=peak / 2**20,
    )


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _assert_same(result: RankingResult, figures: Figures) -> None:
    """Check that both agree; the loops' float32 may swap neighbours whose cosines differ by less than 1e-6."""
    precision, average_precision = figures
    for column, k in enumerate(K_VALUES):
        assert abs(result.mean_precision(k) - precision[:, column].mean()) < 1e-3
    np.testing.assert_allclose(result.average_precision, average_precision, atol=1e-3)
