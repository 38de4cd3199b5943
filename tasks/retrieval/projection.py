"""Maps of the embedding in the plane. They are for looking: distances in them are not to be measured."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.errors import InputError
from models.vector_index import normalize

_FEWEST = 8


def tsne(vectors: NDArray, seed: int) -> NDArray[np.float32]:
    """Project with t-SNE (van der Maaten and Hinton, 2008) from the first two principal components.

    Args:
        vectors: shape (vectors, dimensions), at least 8; normalised here, so that neighbours are those by cosine.
        seed: seed of the solver.

    Returns:
        Coordinates, shape (vectors, 2), the same for the same input.

    Raises:
        InputError: there are fewer than 8 vectors, one has no direction, or all are the same.
    """
    unit = _prepared(vectors)
    from sklearn.manifold import TSNE

    # 30 neighbours, its authors' default; the method needs three times as many points.
    perplexity = min(30.0, (len(unit) - 1) / 3)
    # Threads add up forces in changing order, and the descent blows the difference up.
    with threadpool_limits(limits=1):
        solver = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        return solver.fit_transform(unit).astype(np.float32)


def umap(vectors: NDArray, seed: int) -> NDArray[np.float32]:
    """Project with UMAP (McInnes, Healy and Melville, 2018).

    Args:
        vectors: shape (vectors, dimensions), at least 8; normalised here, so that neighbours are those by cosine.
        seed: seed of the solver.

    Returns:
        Coordinates, shape (vectors, 2), the same for the same input.

    Raises:
        InputError: there are fewer than 8 vectors, one has no direction, or all are the same.
    """
    unit = _prepared(vectors)
    from umap import UMAP  # the first import compiles for half a minute

    with threadpool_limits(limits=1):
        solver = UMAP(n_neighbors=min(15, len(unit) - 1), random_state=seed, n_jobs=1)
        return np.asarray(solver.fit_transform(unit), dtype=np.float32)


def _prepared(vectors: NDArray) -> NDArray[np.float32]:
    if len(vectors) < _FEWEST:
        raise InputError(
            f"There are {len(vectors)} vectors to project, but a map needs at least {_FEWEST}; use a larger split."
        )
    unit = normalize(vectors)
    if (unit == unit[0]).all():
        raise InputError(
            f"All {len(unit)} vectors to project are the same, so there is nothing to map; the encoder has collapsed: "
            "train it longer or check its images."
        )
    return unit
