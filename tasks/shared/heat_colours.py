"""How heat maps are coloured over pictures, on every page and in every figure."""

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

HEAT_COLOURS = "jet"
HEAT_OPACITY = 0.35


_ROWS = 128  # laid over at a time, since a picture may have millions of pixels


def lay_over(image: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour a picture by a heat map: blue where there is none, red where there is most.

    Args:
        image: shape (height, width) or (height, width, 3), 0–255.
        heat: in [0, 1], shape (height, width).

    Returns:
        Colours, shape (height, width, 3).
    """
    grey = (1 - HEAT_OPACITY) * np.arange(256)
    colour = HEAT_OPACITY * (colormaps[HEAT_COLOURS](np.arange(256))[:, :3] * 255)
    mixed = np.empty((*heat.shape, 3), np.uint8)
    for start in range(0, len(heat), _ROWS):
        rows = slice(start, start + _ROWS)
        steps = np.minimum(np.clip(heat[rows], 0, 1) * 256, 255).astype(np.uint8)
        levels = grey[image[rows]]
        mixed[rows] = ((levels[..., None] if levels.ndim == 2 else levels) + colour[steps]).round()
    return mixed
