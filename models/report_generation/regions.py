"""Where on the picture a heat map is strongest, in words."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_FOCUS = "no focus"
FOCUS = 1.2 / 9
"""Share from which a zone stands out: an even map has a ninth in each zone, and a fifth more than that is needed."""

_ZONES = (
    "upper left of the image",
    "upper middle of the image",
    "upper right of the image",
    "middle left of the image",
    "centre of the image",
    "middle right of the image",
    "lower left of the image",
    "lower middle of the image",
    "lower right of the image",
)


@dataclass(frozen=True)
class Region:
    """A part of the picture; left and right are the viewer's, not the patient's.

    Attributes:
        words: its name, or "no focus".
        share: share of the map's heat in it, in [0, 1]; 0 without a focus.
    """

    words: str
    share: float


def describe_region(heat: NDArray[np.floating]) -> Region:
    """Name the ninth of the picture that holds most of the heat.

    Args:
        heat: map in [0, 1], shape (height, width).

    Returns:
        The zone of a 3×3 grid of equal areas, the first in reading order on a tie; "no focus" where the map is zero
        or no zone stands out.

    Raises:
        ValueError: the map holds negative or infinite values, or NaN.
    """
    if not np.isfinite(heat).all() or (heat < 0).any():
        raise ValueError("a heat map holds finite values that are not negative")
    total = float(heat.sum(dtype=np.float64))
    if total == 0:
        return Region(NO_FOCUS, 0.0)
    zones = _thirds(heat.shape[0]) @ heat.astype(np.float64) @ _thirds(heat.shape[1]).T / total
    shares = zones.round(9).ravel()  # so that rounding errors decide no tie
    strongest = int(shares.argmax())
    if shares[strongest] < FOCUS:
        return Region(NO_FOCUS, 0.0)
    return Region(_ZONES[strongest], float(shares[strongest]))


def _thirds(length: int) -> NDArray[np.float64]:
    """Weigh each pixel of a row by the part of it that lies in each third of the row, shape (3, length)."""
    edges = np.arange(length)
    starts, ends = np.arange(3)[:, None] * length / 3, np.arange(1, 4)[:, None] * length / 3
    return np.clip(np.minimum(edges + 1, ends) - np.maximum(edges, starts), 0, 1)
