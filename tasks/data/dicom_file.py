"""Read the picture in a DICOM file as a screen would show it.

The order is that of the standard's greyscale pipeline (PS3.4 N.2): stored values, modality LUT or rescale, VOI LUT or
window, and last the photometric interpretation, by which MONOCHROME1 shows its smallest value white.
"""

from typing import BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing, get_decoder, pixel_array

from models.errors import InputError
from tasks.data.grey_levels import luma, refuse_size, scale, to_grey_levels

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_dicom(file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """Read the first frame of a DICOM file.

    Of several windows the first counts, and a VOI LUT before a window. Without either the values are scaled as
    `tasks.data.grey_levels.to_grey_levels` says. Palettes, RGB and YBR become grey.

    Args:
        file: positioned at the beginning.
        name: what a message calls the file.

    Returns:
        Grey levels from 0 (black) to 255, shape (height, width).

    Raises:
        InputError: it holds no pixels, or is compressed in a way that cannot be decoded here.
        Exception: what pydicom makes of a damaged file.
    """
    dataset = pydicom.dcmread(file, force=True)
    if not any(keyword in dataset for keyword in _PIXELS):
        kind = dataset["SOPClassUID"].repval if "SOPClassUID" in dataset else "of no known kind"
        raise InputError(
            f"{name} is a DICOM file without pixels ({kind}): an image was expected; name the file that holds the "
            "X-ray itself, and export it again if it was cut off."
        )
    refuse_size(dataset.get("Rows") or 0, dataset.get("Columns") or 0)
    pixels = _first_frame(dataset, name)
    if dataset.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2"):
        levels = _displayed(pixels, dataset)
        return 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    return luma(to_grey_levels(pixels[..., :3]))


def _first_frame(dataset: pydicom.Dataset, name: str) -> NDArray:
    meta = dataset.file_meta
    if "TransferSyntaxUID" not in meta:  # without file meta information
        implicit, little = dataset.original_encoding
        native = {
            (True, True): pydicom.uid.ImplicitVRLittleEndian,
            (False, True): pydicom.uid.ExplicitVRLittleEndian,
            (False, False): pydicom.uid.ExplicitVRBigEndian,
        }
        meta.TransferSyntaxUID = native[bool(implicit), bool(little)]
    syntax = meta.TransferSyntaxUID
    try:
        readable = get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    try:
        if readable:
            return pixel_array(dataset, index=0)
    except (RuntimeError, NotImplementedError):  # the decoder's own refusal, such as 12-bit JPEG
        if not syntax.is_compressed:
            raise
    raise InputError(
        f"The pixels of {name} are compressed as {syntax.name} and could not be decoded: they are damaged or of a kind "
        "for which no decoder is installed; export it as an uncompressed DICOM file or as PNG."
    )


def _displayed(values: NDArray, dataset: pydicom.Dataset) -> NDArray[np.uint8]:
    tables = dataset.get("VOILUTSequence")
    bits = tables[0].LUTDescriptor[2] if tables else 0
    _widen_tables(dataset)
    values = apply_modality_lut(values, dataset)
    if tables:
        return scale(apply_voi(np.rint(values).astype(np.int64), dataset), 0, 2**bits - 1)
    if dataset.get("WindowCenter") is None or dataset.get("WindowWidth") is None:
        return to_grey_levels(values)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity")
    # What lies infinitely far on either side of the window tells which values pydicom gives to black and white.
    with np.errstate(over="ignore"):
        black, white = apply_windowing(np.array([-np.inf, np.inf]), dataset)
        return scale(apply_windowing(values, dataset), black, white)


def _widen_tables(dataset: pydicom.Dataset) -> None:
    # pydicom 3.0 counts places of a table in the type of its entries, which wraps round in a long table of 8 bits, and
    # knows no modality table of 12 bits. Entries of 16 bits hold the same values and have neither fault.
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        for table in dataset.get(sequence) or ():
            table.LUTDescriptor = [*table.LUTDescriptor[:2], 16]
