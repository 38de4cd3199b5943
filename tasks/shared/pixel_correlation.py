"""Near-duplicates: images whose pixels correlate.

Brightness and contrast do not change the correlation of pixels, and no encoder can spoil it. The cosine of an embedding
would not do: a classifier's fall together for a whole class, so in PneumoniaMNIST 2.3 million pairs of training images
reach .99, 14,000 of them of different classes. A duplicate that is shifted by a pixel is missed.

The level of .95 comes from the data. Among the 17 million pairs of the 5,856 images 31 are identical, no other reaches
.975, and six lie from .95 to .975, of which the upper three look like two pictures of one patient. Below, strangers
that look alike begin: 33 pairs from .94 to .95, then about three times as many with each further hundredth, some of
different classes.
"""

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

LEAST_CORRELATION = 0.95
MOST_IMAGES = 30_000
_BLOCK = 1024  # images compared with as many others at once


def correlated_pairs(
    images: NDArray[np.uint8], least_correlation: float = LEAST_CORRELATION
) -> list[tuple[int, int, float]]:
    """Compare every pair of images and keep those whose pixels correlate.

    Besides the images themselves, only two blocks of them and their correlations are held in memory at a time.

    Args:
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        least_correlation: Pearson correlation of a pair over all pixels and channels, above 0.

    Returns:
        Index of the earlier image, of the later one, and their correlation to nine decimals, so that images that differ
        only in brightness and contrast have exactly 1; in the order of the indices. Images of one single colour are
        like none.

    Raises:
        InputError: there are more than `MOST_IMAGES` images.
    """
    if len(images) > MOST_IMAGES:
        raise InputError(
            f"Near-duplicates among {len(images)} images would take too long, as every pair is compared; look for them "
            f"among at most {MOST_IMAGES} images, for instance in a subset."
        )
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(images), _BLOCK):
        block = _standardized(images[start : start + _BLOCK])
        for other in range(start, len(images), _BLOCK):
            correlations = (block @ _standardized(images[other : other + _BLOCK]).T).round(9)
            later = np.triu(correlations >= least_correlation, start - other + 1)  # each pair once, none with itself
            rows, columns = np.nonzero(later)
            found = correlations[rows, columns].tolist()
            pairs += zip((rows + start).tolist(), (columns + other).tolist(), found, strict=True)
    return sorted(pairs)


def _standardized(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Shift each image to mean 0 and scale it to length 1, so that products are correlations; an even one becomes 0."""
    pixels = images.reshape(len(images), -1).astype(np.float64)
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)
    return pixels
