"""Grey images as PNG, without the plotting library."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(image: NDArray[np.uint8], *, least_width: int = 1) -> bytes:
    """Write an image as PNG, enlarged by whole pixels where it is small.

    Args:
        image: shape (height, width) or (height, width, 3), 0–255.
        least_width: pixels that the picture is to be wide at least.

    Returns:
        PNG bytes.
    """
    factor = max(1, -(-least_width // image.shape[1]))
    buffer = io.BytesIO()
    Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1)).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def picture_url(image: NDArray[np.uint8], least_width: int = 1) -> str:
    """Write an image as the address of itself, for a page that fetches nothing.

    Args:
        image: as for `encode_png`.
        least_width: likewise.

    Returns:
        A data URL.
    """
    return "data:image/png;base64," + base64.b64encode(encode_png(image, least_width=least_width)).decode()


def with_few_colors(png: bytes) -> bytes:
    """Make a picture smaller by giving it at most 256 colours, which a figure hardly shows.

    Args:
        png: the picture.

    Returns:
        PNG bytes, about a third as many.
    """
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        # Of the methods the one that leaves no colour far from its own: a yellow dot on a heat map would say something.
        few = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(buffer, "png")
    return buffer.getvalue()
