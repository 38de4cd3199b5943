"""Leave-one-out evaluation of embeddings, beside loops over queries and beside whole matrices.

At the size of the test split there are three loops, from the one that is quickest to write to the strongest:
scikit-learn's functions for each query; its similarities with precision and average precision counted in Python; and
similarities of all pairs at once with NumPy for the rest. At ten thousand images, where such loops take minutes, whole
matrices are sorted and counted at once, which is quick and takes gigabytes. All compute the same figures, which is
asserted.
"""

import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from tasks.retrieval.metrics.ranking import RankingResult, evaluate
from tests.benchmarks.comparison import Comparison

QUERIES, MANY_QUERIES, DIMENSIONS = 624, 10_000, 512
K_VALUES = (1, 5, 10)
REPEATS, MANY_REPEATS = 7, 3

Figures = tuple[NDArray[np.float64], NDArray[np.float64]]  # precision (queries, cut-offs), average precision (queries,)


def embeddings(queries: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw vectors and labels with the test split's class shares and with overlapping classes."""
    generator = np.random.default_rng(0)
    labels = (np.arange(queries) % 8 < 5).astype(np.int64)
    vectors = generator.normal(size=(queries, DIMENSIONS)) + 0.15 * labels[:, None]
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


def numpy_matrices(vectors: NDArray, labels: NDArray) -> Figures:
    """Score all queries at once: sort the matrix of similarities in float32 and count along its rows."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarities = unit @ unit.T
    np.fill_diagonal(similarities, -np.inf)
    order = np.argsort(-similarities, axis=1)[:, :-1]
    relevant = labels[order] == labels[:, None]
    hits = np.cumsum(relevant, axis=1)
    precision = np.stack([hits[:, k - 1] / k for k in K_VALUES], axis=1)
    ranks = np.arange(1, len(vectors))
    return precision, (hits * relevant / ranks).sum(axis=1) / hits[:, -1]


def measure() -> Comparison:
    """Compare with scikit-learn's functions for each query."""
    return _compare(sklearn_loop, "scikit-learn per query", goal_ratio=100, repeats=REPEATS)


def measure_python_loop() -> Comparison:
    """Compare with figures counted in Python along each ranking."""
    return _compare(python_loop, "Python loop over ranks", goal_ratio=50, repeats=REPEATS)


def measure_numpy_loop() -> Comparison:
    """Compare with NumPy for each query."""
    return _compare(numpy_loop, "NumPy per query", goal_ratio=1.5, repeats=3 * REPEATS)


def measure_many() -> Comparison:
    """Compare ten thousand queries with whole matrices, whose peak memory stands in the name."""
    vectors, labels = embeddings(MANY_QUERIES)
    peak = _peak_mib(lambda: numpy_matrices(vectors, labels))
    name = f"NumPy, whole matrices in float32, peak {peak:.0f} MiB"
    return _compare(numpy_matrices, name, queries=MANY_QUERIES, goal_ratio=1, goal_seconds=None, repeats=MANY_REPEATS)


def _compare(
    reference: Callable[[NDArray, NDArray], Figures],
    name: str,
    *,
    goal_ratio: float,
    repeats: int,
    queries: int = QUERIES,
    goal_seconds: float | None = 0.050,
) -> Comparison:
    vectors, labels = embeddings(queries)
    ids = np.arange(len(vectors))

    def ours() -> RankingResult:
        return evaluate(vectors, labels, vectors, labels, ids, ids, K_VALUES)

    _assert_same(ours(), reference(vectors, labels))
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(repeats):
        seconds["ours"].append(_timed(ours))
        seconds["reference"].append(_timed(lambda: reference(vectors, labels)))

    return Comparison(
        name=f"leave-one-out evaluation, {queries} × {DIMENSIONS}",
        ours=median(seconds["ours"]),
        reference=median(seconds["reference"]),
        reference_name=name,
        goal_ratio=goal_ratio,
        goal_seconds=goal_seconds,
        peak_mib=_peak_mib(ours),
    )


def _peak_mib(function: Callable[[], object]) -> float:
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _assert_same(result: RankingResult, figures: Figures) -> None:
    """Check that both agree; the loops' float32 may swap neighbours whose cosines differ by less than 1e-6."""
    precision, average_precision = figures
    for column, k in enumerate(K_VALUES):
        assert abs(result.mean(f"precision_at_{k}") - precision[:, column].mean()) < 1e-3
    np.testing.assert_allclose(result.values["average_precision"], average_precision, atol=1e-3)
