"""A heat map over the picture that a person brought, at any size.

The classifier sees the middle square of a picture, shrunk to a few pixels. So its map belongs on that square, and what
lies outside was not seen at all.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tasks.shared.heat_colours import lay_over
from tasks.shared.model_size import middle_square

HALF = 0.5
"""Share of the strongest heat that the line on a map surrounds."""
_VEIL, _VEIL_GREY = 0.6, 110  # of what was not seen; on black its own darkness would not show
_LINES_A_SIDE = 300  # how thin the line is


def heat_overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay a heat map over the part of a picture that it is a map of, and veil the rest.

    A white line surrounds where the heat is at least half of the strongest, which can be seen without colours.

    Args:
        picture: grey levels, shape (height, width), or colours, shape (height, width, 3), as it is or enlarged or
            shrunk as a whole.
        heat: in [0, 1], shape (rows, columns), of the classifier's image.

    Returns:
        Colours, shape (height, width, 3). No heat at all leaves the square blue and without a line.
    """
    height, width = picture.shape[:2]
    top, left, side = middle_square(height, width)
    rows, columns = slice(top, top + side), slice(left, left + side)
    enlarged = enlarge(heat, side)
    seen = lay_over(picture[rows, columns], enlarged)
    seen[_border(enlarged >= HALF, max(1, round(side / _LINES_A_SIDE)))] = 255
    veiled = _veiled(picture)
    shown = np.repeat(veiled[..., None], 3, axis=2) if picture.ndim == 2 else veiled
    shown[rows, columns] = seen
    return shown


def enlarge(heat: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """Enlarge a map to a square, linearly between the centres of its cells, so that it gains no new extremes.

    Args:
        heat: shape (rows, columns).
        side: height and width of the result in pixels.

    Returns:
        Shape (side, side); a map that is larger is averaged.
    """
    cells = Image.fromarray(heat.astype(np.float32))
    return np.asarray(cells.resize((side, side), Image.Resampling.BILINEAR))


def _veiled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    levels = (1 - _VEIL) * np.arange(256) + _VEIL * _VEIL_GREY
    return levels.round().astype(np.uint8)[picture]


def _border(inside: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Return what of a region lies within so many pixels of its edge; the picture's edge is none."""
    return inside & ~ndimage.minimum_filter(inside, 2 * thickness + 1, mode="nearest")
