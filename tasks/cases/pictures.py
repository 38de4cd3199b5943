"""Pictures of any size as small as a page can hold them."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.shared.model_size import middle_square
from tasks.shared.png import encode_png

MOST_SIDE = 1200
"""Pixels of the longer side of a picture on a page: of one with 20 million pixels that is 150 kB instead of 10 MB."""
_LEAST_SIDE = 400  # small pictures are enlarged by whole pixels
_THUMBNAIL = 56  # pixels of the shorter side of what stands in a table
_EXACT = 1 << 18  # pixels of a grey picture up to which PNG is tried: of others it is larger, and slow to write
_QUALITY = 85


def at_page_size(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a large picture, and enlarge a small one by whole pixels.

    Args:
        picture: grey levels, shape (height, width), or colours, shape (height, width, 3).

    Returns:
        The whole picture, its longer side between 400 and `MOST_SIDE` pixels.
    """
    longest = max(picture.shape[:2])
    if longest > MOST_SIDE:
        return _shrunk(picture, MOST_SIDE / longest)
    factor = -(-_LEAST_SIDE // longest)
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def small_url(image: NDArray[np.uint8]) -> str:
    """Write a picture as the address of itself: PNG or JPEG, whichever is smaller; JPEG where it is large or coloured.

    Args:
        image: shape (height, width) or (height, width, 3), 0–255.

    Returns:
        A data URL.
    """
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "jpeg", quality=_QUALITY, subsampling=0)  # `optimize` fails on noise
    kind, written = "jpeg", jpeg.getvalue()
    if image.ndim == 2 and image.size <= _EXACT and len(png := encode_png(image)) <= len(written):
        kind, written = "png", png
    return f"data:image/{kind};base64,{base64.b64encode(written).decode()}"


def thumbnail(picture: NDArray[np.uint8]) -> bytes:
    """Make of a picture what stands in a table: its middle square, small.

    Args:
        picture: grey levels, shape (height, width), or colours, shape (height, width, 3).

    Returns:
        PNG bytes, about 2 kB.
    """
    top, left, side = middle_square(*picture.shape[:2])
    square = picture[top : top + side, left : left + side]
    return encode_png(_shrunk(square, min(1, _THUMBNAIL / side)))


def _shrunk(picture: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    height, width = (max(1, round(length * factor)) for length in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3))
