"""Vectors in pieces, so that memory holds one piece at a time."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

Shard = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]
"""Vectors (vectors, dimensions), their ids (vectors,) and their labels (vectors,)."""


def count(shards: Iterable[Shard]) -> tuple[int, int]:
    """Count the vectors.

    Args:
        shards: a list, or anything else that can be gone through again.

    Returns:
        Their number and their dimension.

    Raises:
        InputError: the shards can be gone through only once, hold no vectors, or are no rows of one dimension.
    """
    if isinstance(shards, Iterator):
        raise InputError(
            "The shards are an iterator, but they are gone through more than once; pass a list, or an object whose "
            "__iter__ starts anew."
        )
    shapes = []
    for vectors, ids, labels in shards:
        require_one_each(len(vectors), ids, labels)
        shapes.append(np.shape(vectors))
    if not sum(shape[0] for shape in shapes if shape):
        raise InputError("There are no vectors to index, but at least one was expected; check the split's size.")
    odd = [shape for shape in shapes if len(shape) != 2 or shape[1] != shapes[0][1]]
    if odd:
        raise InputError(
            f"The vectors have shape {odd[0]}, but (vectors, dimensions), with the same dimensions in every shard, was "
            "expected; pass one row per vector."
        )
    return sum(shape[0] for shape in shapes), shapes[0][1]


def require_one_each(size: int, ids: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """Check that every vector has an id and a label.

    Args:
        size: number of vectors.
        ids: ids, shape (vectors,).
        labels: labels, shape (vectors,).

    Raises:
        InputError: one of them has another shape.
    """
    for name, values in (("ids", ids), ("labels", labels)):
        if np.shape(values) != (size,):
            raise InputError(
                f"There are {size} vectors and {name} of shape {np.shape(values)}, but one per vector was expected; "
                "pass both for the same images."
            )


def sample(
    shards: Iterable[Shard], size: int, at_most: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw vectors evenly from all shards, without replacement.

    Args:
        shards: the shards.
        size: vectors in all of them.
        at_most: vectors to draw; all where there are fewer.
        seed: of the draw.

    Returns:
        The vectors, shape (drawn, dimensions), and their ids, shape (drawn,), in the order of the shards.
    """
    drawn = np.sort(np.random.default_rng(seed).choice(size, min(size, at_most), replace=False))
    vectors, ids, start = [], [], 0
    for shard_vectors, shard_ids, _ in shards:
        end = start + len(shard_vectors)
        rows = drawn[np.searchsorted(drawn, start) : np.searchsorted(drawn, end)] - start
        vectors.append(np.asarray(shard_vectors)[rows])
        ids.append(np.asarray(shard_ids)[rows])
        start = end
    return np.concatenate(vectors), np.concatenate(ids)
