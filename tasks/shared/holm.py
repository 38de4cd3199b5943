"""Holm's correction of p-values."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    The same is in statsmodels, whose version collects garbage each time: a second beside PyTorch and Prefect.

    Args:
        p_values: p-values of tests that are looked at together, in any order.

    Returns:
        The corrected p-values, in the same order, at most 1.
    """
    order = np.argsort(p_values, kind="stable")
    raised = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(raised).clip(max=1)
    return [float(p) for p in corrected]
