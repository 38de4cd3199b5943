"""Maps of the embedding in the plane. They are for looking: distances in them are not to be measured."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.errors import InputError
from models.vector_index import normalize

_FEWEST = 8
_ROOT = Path(__file__).parents[2]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from tasks.retrieval.projection import serve; serve()"


def project(vectors: NDArray, seed: int) -> dict[str, NDArray[np.float32]]:
    """Project by both methods in a process of their own.

    They hold Python's lock for seconds while UMAP is compiled, and what they set for BLAS holds for a whole process,
    where it would change the last digits of what others compute at the same time.

    Args:
        vectors: as for `tsne`.
        seed: seed of the solvers.

    Returns:
        Coordinates, shape (vectors, 2), by method: `tsne` and `umap`.

    Raises:
        InputError: as for `tsne`.
        RuntimeError: the process failed.
    """
    _prepared(vectors)  # what cannot be projected is told here
    question = io.BytesIO()
    np.savez(question, vectors=vectors, seed=seed)
    command = [sys.executable, "-P", "-c", _START, str(_ROOT)]
    done = subprocess.run(command, input=question.getvalue(), capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"the projection failed: {done.stderr.decode(errors='replace')[-2000:]}")
    with np.load(io.BytesIO(done.stdout)) as answer:
        return dict(answer)


def serve() -> None:
    """Answer one question of `project`, from standard input to standard output."""
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as question:
        vectors, seed = question["vectors"], int(question["seed"])
    np.savez(sys.stdout.buffer, tsne=tsne(vectors, seed), umap=umap(vectors, seed))


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
    from umap import UMAP

    _keep_compiled()
    with threadpool_limits(limits=1):
        solver = UMAP(n_neighbors=min(15, len(unit) - 1), random_state=seed, n_jobs=1)
        return np.asarray(solver.fit_transform(unit), dtype=np.float32)


def _keep_compiled() -> None:
    """Let numba keep what it compiles of UMAP, which takes ten times as long as to run it and is not kept otherwise."""
    from umap import layouts, umap_, utils

    single_epoch = layouts._nb_optimize_layout_euclidean_single_epoch
    for each in (utils.fast_knn_indices, umap_.smooth_knn_dist, umap_.compute_membership_strengths, single_epoch):
        with contextlib.suppress(RuntimeError):  # there is no folder to keep it in
            each.enable_caching()


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
