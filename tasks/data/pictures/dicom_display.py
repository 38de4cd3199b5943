"""The greyscale pipeline of DICOM, from stored values to what a screen shows.

The order is that of PS3.4 N.2: modality LUT or rescale, VOI LUT or window, and last the presentation, by which
MONOCHROME1 shows its smallest value white. Each step looks at one value only, so a table of all values between the
smallest and the largest is shown instead of millions of pixels.
"""

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, apply_voi

from tasks.data.pictures.grey_levels import scale, to_grey_levels
from tasks.data.pictures.unreadable import UnreadableImageError

_LONGEST_TABLE = 1 << 16
_BLOCK = 1 << 16  # values that are looked up at a time, which fit the processor's cache
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def displayed(
    values: NDArray[np.number], padding: NDArray[np.bool_] | None, dataset: pydicom.Dataset
) -> NDArray[np.uint8]:
    """Show the stored values of a grey picture.

    Of several windows the first counts, and a VOI LUT before a window. A window of no width is none, and one whose
    width is below 1 is LINEAR_EXACT, which alone knows such. Without either the values are scaled as
    `grey_levels.to_grey_levels` says. An empty RescaleSlope is 1, an empty RescaleIntercept 0, an empty
    VOILUTFunction LINEAR.

    Args:
        values: shape (height, width).
        padding: pixels that are shown black and do not count otherwise, same shape.
        dataset: the file's elements.

    Returns:
        Grey levels from 0 (black) to 255, same shape.

    Raises:
        UnreadableImageError: a value or a number of the pipeline is NaN or infinite, or its function is unknown.
    """
    counted = values if padding is None else values[~padding]
    if not counted.size:
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = counted.min(), counted.max()
    if np.issubdtype(values.dtype, np.integer) and int(high) - int(low) < _LONGEST_TABLE:
        table = _levels(np.arange(int(low), int(high) + 1), dataset)
        levels = np.empty(values.shape, dtype=np.uint8)
        rows = max(1, _BLOCK // values.shape[1])
        for start in range(0, len(values), rows):  # of a block, since NumPy makes places of 8 bytes of each value
            places = np.subtract(values[start : start + rows], int(low), dtype=np.int64)
            np.take(table, places, mode="clip", out=levels[start : start + rows])
    else:
        levels = _levels(values if padding is None else np.where(padding, low, values), dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        levels = 255 - levels
    if padding is not None:
        levels[padding] = 0
    return levels


def _levels(values: NDArray[np.number], dataset: pydicom.Dataset) -> NDArray[np.uint8]:
    tables = dataset.get("VOILUTSequence")
    bits = tables[0].LUTDescriptor[2] if tables else 0
    _widen_tables(dataset)
    rescaled = _rescaled(values, dataset)
    if tables:
        return scale(apply_voi(np.rint(rescaled).astype(np.int64), dataset), 0, 2**bits - 1)
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if center is None or width is None or width <= 0:
        unchanged = rescaled is values and "PixelRepresentation" in dataset and not dataset.PixelRepresentation
        return to_grey_levels(rescaled, dataset.BitsStored if unchanged else 8)
    if not np.isfinite(rescaled).all():
        raise UnreadableImageError("it holds NaN or infinity")
    return _windowed(rescaled, center, width, _function(dataset))


def _rescaled(values: NDArray[np.number], dataset: pydicom.Dataset) -> NDArray[np.number]:
    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(values, dataset)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    return values if (slope, intercept) == (1, 0) else values * slope + intercept


def _windowed(values: NDArray[np.number], center: float, width: float, function: str) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        with np.errstate(over="ignore"):  # far below the window: exp overflows to infinity, and 1 / infinity is black
            return scale(1 / (1 + np.exp(-4 * (values - center) / width)), 0, 1)
    if function == "LINEAR" and width >= 1:
        center, width = center - 0.5, width - 1
    if width == 0:
        return np.where(values > center, 255, 0).astype(np.uint8)
    return scale(values, center - width / 2, center + width / 2)


def _function(dataset: pydicom.Dataset) -> str:
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if function not in _FUNCTIONS:
        raise UnreadableImageError(f"its VOILUTFunction is none of {', '.join(_FUNCTIONS)}")
    return function


def _number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    if value is None or value == "":
        return None
    number = float(value)
    if not np.isfinite(number):
        raise UnreadableImageError(f"its {keyword} is not finite")
    return number


def _widen_tables(dataset: pydicom.Dataset) -> None:
    # pydicom 3.0 counts places of a table in the type of its entries, which wraps round in a long table of 8 bits, and
    # knows no modality table of 12 bits. Entries of 16 bits hold the same values and have neither fault.
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        for table in dataset.get(sequence) or ():
            table.LUTDescriptor = [*table.LUTDescriptor[:2], 16]
