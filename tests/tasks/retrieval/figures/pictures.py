"""What is seen of a figure."""

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from numpy.typing import NDArray

from tests.support.figures import PHANTOMS, REAL, require_legible


def pixels(png: bytes) -> NDArray[np.float32]:
    return imread(io.BytesIO(png), format="png")[..., :3]


def area(picture: bytes | NDArray, color: str) -> int:
    """Number of pixels of a colour."""
    image = pixels(picture) if isinstance(picture, bytes) else picture
    return int((np.abs(image - to_rgb(color)).max(axis=2) < 0.02).sum())


def require_repeatable_and_watermarked(draw: Callable[..., bytes], *, whole: bool = False) -> None:
    """Draw a figure twice, and once of phantoms; a whole one is not cut off at an edge."""
    png = require_legible(partial(draw, source=REAL))
    assert png.startswith(b"\x89PNG")
    assert png == draw(source=REAL)
    image = pixels(png)
    assert image.std() > 0.03
    assert (image < 0.9).any(axis=2).mean() > 0.01
    assert (pixels(draw(source=PHANTOMS)) != image).any(axis=2).mean() > 0.005
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]) if whole else ():
        assert (edge > 0.97).all()
