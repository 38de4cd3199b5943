"""A choice of rows, as FAISS takes it."""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray


def selector(rows: NDArray[np.bool_]) -> Any:
    """Let FAISS see only some rows.

    Args:
        rows: which rows it may see, shape (rows,).

    Returns:
        FAISS's selector.
    """
    return faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little"))  # type: ignore[call-arg, arg-type]
