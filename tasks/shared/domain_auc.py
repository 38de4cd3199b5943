"""How well one sample of embeddings can be told from another."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tasks.shared.auc import auc_with_interval
from tasks.shared.estimates import UNKNOWN, Estimate

MOST = 1000  # images of a sample whose embeddings are compared
FOLDS = 5
PENALTY = 0.01  # inverse strength of the domain classifier's penalty: there are more dimensions than images


def unit_vectors(embeddings: NDArray[np.floating], chosen: NDArray[np.bool_], *, seed: int) -> NDArray[np.float64]:
    """Take some embeddings, at most `MOST` of them at random, and give each the length 1.

    Args:
        embeddings: shape (images, dimension).
        chosen: which of them, shape (images,).
        seed: of the random choice.

    Returns:
        Shape (at most `MOST`, dimension).
    """
    positions = np.flatnonzero(chosen)
    if len(positions) > MOST:
        positions = np.random.default_rng(seed).choice(positions, MOST, replace=False)
    vectors = np.asarray(embeddings[positions], np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def domain_log_odds(
    first: NDArray[np.floating], second: NDArray[np.floating], *, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate how much likelier each point is in the second sample than in the first, by classifiers not fitted to it.

    Args:
        first: shape (points, dimension), `FOLDS` points or more.
        second: likewise.
        seed: of the folds.

    Returns:
        Cross-validated log-odds of logistic regression, for which both samples weigh the same: an estimate of the
        logarithm of the ratio of their densities. Shapes (points of the first,) and (points of the second,).
    """
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    points, domain = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    scores = np.empty(len(points))
    # Threads that wait for each other make matrices this small eight times slower.
    with threadpool_limits(1), config_context(skip_parameter_validation=True):
        for fitted, held_out in folds.split(points, domain):
            scaler = StandardScaler().fit(points[fitted])
            classifier = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000)
            classifier.fit(scaler.transform(points[fitted]), domain[fitted])
            scores[held_out] = classifier.decision_function(scaler.transform(points[held_out]))
    return scores[domain == 0], scores[domain == 1]


def domain_auc(first: NDArray[np.floating], second: NDArray[np.floating], *, seed: int) -> Estimate:
    """Measure how well a linear classifier tells one sample from another, on points it was not fitted to.

    Args:
        first: shape (points, dimension).
        second: shape (points, dimension).
        seed: of the folds.

    Returns:
        Area under the ROC curve of cross-validated logistic regression (a classifier two-sample test; Lopez-Paz and
        Oquab, 2017); 0.5 where they cannot be told apart. `UNKNOWN` with fewer than `FOLDS` points in a sample.
    """
    if min(len(first), len(second)) < FOLDS:
        return UNKNOWN
    return auc_with_interval(*domain_log_odds(first, second, seed=seed))
