"""From a picture's own values to grey levels from 0 to 255."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bounds import PICTURE_PIXELS
from tasks.data.pictures.unreadable import UnreadableImageError

_DEPTHS = (8, 10, 12, 14, 16)  # bits a pixel of X-ray detectors and of picture files
_BLOCK = 1 << 20  # values that are scaled at a time, each in 8 bytes


def refuse_size(height: int, width: int) -> None:
    """Refuse a picture without pixels, and one that would fill the memory before it is decoded.

    Args:
        height: pixels.
        width: pixels.

    Raises:
        UnreadableImageError: there are none, or more than `PICTURE_PIXELS`.
    """
    if height < 1 or width < 1:
        raise UnreadableImageError(f"it has {height} × {width} pixels")
    if height * width > PICTURE_PIXELS:
        raise UnreadableImageError(
            f"it has {height} × {width} pixels, and at most {PICTURE_PIXELS // 10**6} million are read"
        )


def to_grey_levels(values: NDArray[np.number], bits: int = 8) -> NDArray[np.uint8]:
    """Scale values that nothing says how to show.

    Whole numbers from 0 up keep their zero, and their white is the largest value of the fewest usual bits (8, 10, 12,
    14 or 16) that hold them: what an 8-bit picture shows stays as it is, and so do 12-bit values stored in 16 bits.
    All others (signed, fractional) have no such range and are stretched from the smallest to the largest.

    Args:
        values: any numeric type, of one axis or more.
        bits: bits of a value, where they are known to be fewer than 8.

    Returns:
        Grey levels from 0 to 255, same shape.

    Raises:
        UnreadableImageError: a value is NaN or infinite.
    """
    if values.dtype == np.uint8 and bits >= 8:
        return values.astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):  # NaN goes through both
        raise UnreadableImageError("it holds NaN or infinity")
    depths = (bits, *_DEPTHS) if bits < 8 else _DEPTHS
    depth = next((depth for depth in depths if high < 2**depth), None)
    if low >= 0 and depth is not None and _are_whole(values):
        low, high = 0.0, 2.0**depth - 1
    return scale(values, low, high)


def _are_whole(values: NDArray[np.number]) -> bool:
    return np.issubdtype(values.dtype, np.integer) or all(np.array_equal(row, np.rint(row)) for row in values)


def scale(values: NDArray[np.number], black: float, white: float) -> NDArray[np.uint8]:
    """Map values linearly to grey levels; those beyond black or white are cut there.

    Args:
        values: any numeric type, of one axis or more.
        black: value that becomes 0.
        white: value that becomes 255; where it is the same as `black`, everything is black.

    Returns:
        Grey levels from 0 to 255, same shape.
    """
    if white == black:
        return np.zeros(values.shape, dtype=np.uint8)
    levels = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _BLOCK // max(1, values[:1].size))
    with np.errstate(over="ignore"):  # infinitely far beyond a narrow range is black or white all the same
        for start in range(0, len(values), rows):
            block = values[start : start + rows].astype(np.float64)
            block -= black
            block *= 255
            block /= white - black
            levels[start : start + rows] = np.rint(block, out=block).clip(0, 255, out=block)
    return levels


def luma(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert colour to grey by the luma of ITU-R BT.601, as Pillow does.

    Args:
        colors: red, green and blue, shape (height, width, 3).

    Returns:
        Grey levels, shape (height, width).
    """
    return np.array(Image.fromarray(colors).convert("L"))


def to_square_pixels(levels: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    """Stretch the coarser side of a picture whose pixels are not square, so that shapes come out undistorted.

    Args:
        levels: grey levels, shape (height, width).
        aspect: height of a pixel divided by its width.

    Returns:
        Grey levels; as they are where the aspect is 1 to within 1 %, which is how exactly makers write it.

    Raises:
        UnreadableImageError: the stretched picture would have more than `PICTURE_PIXELS`.
    """
    if abs(aspect - 1) < 0.01:
        return levels
    height, width = levels.shape
    if max(aspect, 1 / aspect) > PICTURE_PIXELS:
        raise UnreadableImageError("its pixels are millions of times longer than wide")
    height, width = (round(height * aspect), width) if aspect > 1 else (height, round(width / aspect))
    refuse_size(height, width)
    return np.array(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC))
