"""Vectors as an index takes them: finite float32 rows, of length one where the metric is the cosine."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError


def finite_rows(vectors: ArrayLike) -> NDArray[np.float32]:
    """Take vectors as they are and check that they are finite rows.

    Args:
        vectors: shape (vectors, dimensions), any numeric type.

    Returns:
        The vectors, float32, same shape, contiguous.

    Raises:
        InputError: the array has another shape, or a vector is not finite.
    """
    values = np.ascontiguousarray(vectors, dtype=np.float32)
    if np.ndim(vectors) != 2:
        raise InputError(
            f"The vectors have shape {np.shape(vectors)}, but (vectors, dimensions) was expected; pass one row per "
            "vector."
        )
    finite = np.isfinite(_lengths(values))
    if not finite.all():
        raise InputError(
            f"Vector {int(np.flatnonzero(~finite)[0])} holds NaN or infinity, but finite numbers were expected; check "
            "what the encoder computed."
        )
    return values


def normalize(vectors: ArrayLike) -> NDArray[np.float32]:
    """Scale vectors to length one.

    Args:
        vectors: shape (vectors, dimensions), any numeric type.

    Returns:
        Vectors of Euclidean length one, float32, same shape.

    Raises:
        InputError: the array has another shape, or a vector is zero or not finite, so that it has no direction.
    """
    values = finite_rows(vectors)
    lengths = _lengths(values)
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise InputError(
            f"Vector {row} is all zeros and cannot be normalised to length one; check what the encoder computed for it."
        )
    return (values / lengths[:, None]).astype(np.float32)


def _lengths(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean lengths in float64, in which squares of float32 numbers cannot overflow."""
    return np.sqrt(np.einsum("vd,vd->v", values, values, dtype=np.float64))
