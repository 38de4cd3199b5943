"""A picture of any size as the dataset has its images."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_model_size(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut out the middle square and resize it, as the dataset's own images were made.

    MedMNIST's chest X-rays were "center-cropped with a window size of length of the short edge" and resized (Yang et
    al., "MedMNIST v2", Scientific Data 2023). Resizing is bicubic and averages what it shrinks.

    Args:
        image: grey levels, shape (height, width), or colours, shape (height, width, 3).
        size: height and width of the result in pixels.

    Returns:
        The same, shape (size, size) or (size, size, 3); an image of that size comes back as it is.
    """
    top, left, side = middle_square(*image.shape[:2])
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.array(square.resize((size, size), Image.Resampling.BICUBIC))


def middle_square(height: int, width: int) -> tuple[int, int, int]:
    """Tell what of a picture `to_model_size` keeps.

    Args:
        height: of the picture in pixels.
        width: likewise.

    Returns:
        Top edge, left edge and side of the square, in pixels.
    """
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side
