"""What a picture file tells beyond its grey levels at the size of the classifier."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITE = 230
"""Grey level from which a pixel counts as white."""
COLOURED = 32
"""Difference between a pixel's largest and smallest of red, green and blue from which it counts as coloured."""
MOST_COMMON = 8
"""Grey levels whose pixels `PictureFacts.flat` counts: drawings have few, and JPEG spreads each over some."""

_SAMPLE = 256  # pixels a side that are looked at for colour


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture at its own size.

    Attributes:
        height: pixels.
        width: pixels.
        contrast: grey levels between its darkest and its brightest hundredth, from 0 to 255.
        flat: share of its pixels that have one of its `MOST_COMMON` most common grey levels.
        white: share of its pixels from `WHITE` up.
        coloured: share of its pixels, of a sample, that are clearly coloured.
        dicom: whether it came in a DICOM file.
        frames: pictures in the DICOM file, of which this is the first; 1 for other files.
        modality: of the DICOM file, as `dicom_terms.modality` gives it; empty where the file does not say it.
        body_part: likewise, as `dicom_terms.body_part` gives it.
    """

    height: int
    width: int
    contrast: int
    flat: float
    white: float
    coloured: float = 0.0
    dicom: bool = False
    frames: int = 1
    modality: str = ""
    body_part: str = ""


class Picture(NamedTuple):
    """A picture that was read.

    Attributes:
        levels: grey levels from 0 (black) to 255, shape (height, width); in colour (height, width, 3).
        facts: what else is known of it.
    """

    levels: NDArray[np.uint8]
    facts: PictureFacts


def measure(
    levels: NDArray[np.uint8],
    *,
    coloured: float = 0.0,
    dicom: bool = False,
    frames: int = 1,
    modality: str = "",
    body_part: str = "",
) -> PictureFacts:
    """Measure a picture.

    Args:
        levels: grey levels, shape (height, width).
        coloured: as in `PictureFacts`, like all that follow.
        dicom: likewise.
        frames: likewise.
        modality: likewise.
        body_part: likewise.

    Returns:
        What is known of it.
    """
    height, width = levels.shape
    counts = np.array(Image.fromarray(levels).histogram())  # not np.bincount, which makes eight bytes of each pixel
    shares = counts / levels.size
    darkest, brightest = np.searchsorted(np.cumsum(counts), (0.01 * levels.size, 0.99 * levels.size))
    return PictureFacts(
        height=height,
        width=width,
        contrast=int(brightest - darkest),
        flat=float(np.sort(shares)[-MOST_COMMON:].sum()),
        white=float(shares[WHITE:].sum()),
        coloured=coloured,
        dicom=dicom,
        frames=frames,
        modality=modality,
        body_part=body_part,
    )


def coloured_share(colors: NDArray[np.uint8]) -> float:
    """Measure how much of a picture is clearly coloured, on at most `_SAMPLE` × `_SAMPLE` of its pixels.

    Args:
        colors: red, green and blue, shape (height, width, 3).

    Returns:
        A share of its pixels.
    """
    height, width = colors.shape[:2]
    sample = colors[:: -(-height // _SAMPLE), :: -(-width // _SAMPLE)]
    return float((np.ptp(sample, axis=2) >= COLOURED).mean())


def picture_coloured_share(picture: Image.Image) -> float:
    """Measure the same of a picture of Pillow, in whatever mode, without a copy of the whole in colour.

    Args:
        picture: decoded; transparent places count with the colours that they hide.

    Returns:
        A share of its pixels; 0 for one without colours.
    """
    if picture.mode in ("1", "L", "LA") or picture.mode.startswith(("I", "F")):
        return 0.0
    sample = picture.resize(
        (min(picture.width, _SAMPLE), min(picture.height, _SAMPLE)), Image.Resampling.NEAREST
    )  # averaging would make colours of a palette's numbers
    return coloured_share(np.array(sample.convert("RGB")))
