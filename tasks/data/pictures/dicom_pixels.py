"""The stored values of the first frame of a DICOM file, as PS3.5 chapter 8 lays them out."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import as_pixel_options, get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    UID_dictionary,
)

from models.text import printable
from tasks.data.pictures.code_streams import CodeStream, read_code_stream_header
from tasks.data.pictures.grey_levels import refuse_size
from tasks.data.pictures.unreadable import UnreadableImageError

PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}

_SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
_CODE_STREAMS = "1.2.840.10008.1.2.4."  # JPEG, JPEG-LS and JPEG 2000


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels stand.

    Attributes:
        file: positioned at the first byte of the value.
        keyword: PixelData, FloatPixelData or DoubleFloatPixelData.
        vr: value representation, None where the file does not say it.
        syntax: transfer syntax.
    """

    file: BinaryIO
    keyword: str
    vr: str | None
    syntax: UID


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
        values: shape (height, width), in colour (height, width, 3).
        padding: which pixels belong to no picture, shape (height, width); None where the file names no such value.
        photometric: PhotometricInterpretation, RGB for all colour.
    """

    values: NDArray[np.number]
    padding: NDArray[np.bool_] | None
    photometric: str


def read_frame(dataset: pydicom.Dataset, element: PixelElement) -> Frame:
    """Decode the first frame.

    Bits of a pixel's cell outside those that HighBit and BitsStored name (overlays once stood there) do not count.

    Raises:
        UnreadableImageError: the file contradicts itself, is too large, or is compressed in a way that is not decoded.
        Exception: what a decoder makes of damaged pixels.
    """
    refuse_size(_whole(dataset, "Rows") or 0, _whole(dataset, "Columns") or 0)
    photometric = _photometric(dataset)
    values, decoded_photometric = _decoded(dataset, element)
    if _SAMPLES[photometric] == 3:
        if decoded_photometric != "RGB":
            raise UnreadableImageError("its colours are of a kind that is not converted")
        return Frame(values, None, "RGB")
    if element.keyword != "PixelData" or dataset.BitsAllocated == 1:
        return Frame(values, None, photometric)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    limits = _padding_limits(dataset, values.dtype) if photometric != "PALETTE COLOR" else None
    cells = None if limits is None else _between(values, *limits)  # a cell may hold 65535, which 12 bits cannot
    if element.syntax not in JPEG2000TransferSyntaxes + JPEGLSTransferSyntaxes:
        _cut_to_stored_bits(values, dataset, shifted=not str(element.syntax).startswith(_CODE_STREAMS))
    padding = None if limits is None or cells is None else cells | _between(values, *limits)
    return Frame(values, padding, photometric)


def _photometric(dataset: pydicom.Dataset) -> str:
    photometric = str(dataset.get("PhotometricInterpretation") or "")
    if photometric not in _SAMPLES:
        raise UnreadableImageError(f"its PhotometricInterpretation is none of {', '.join(_SAMPLES)}")
    samples = _whole(dataset, "SamplesPerPixel")
    if samples != _SAMPLES[photometric]:
        raise UnreadableImageError(
            f"it is {photometric}, yet has {samples} samples per pixel and not {_SAMPLES[photometric]}"
        )
    return photometric


def _decoded(dataset: pydicom.Dataset, element: PixelElement) -> tuple[NDArray[np.number], str]:
    options = _options(dataset, element)
    try:
        decoder = get_decoder(element.syntax)
    except NotImplementedError as error:
        raise _undecodable(element.syntax) from error
    source: Any = element.file
    if element.syntax.is_encapsulated:
        content = get_frame(
            element.file,
            0,
            number_of_frames=options.pop("number_of_frames"),
            extended_offsets=options.pop("extended_offsets", None),
        )
        stream = _checked_stream(content, element.syntax, options)
        if element.syntax == JPEGExtended12Bit and stream and stream.precision == 12:
            return _decode_12_bits(content, dataset), str(dataset.PhotometricInterpretation)
        source = encapsulate([content])
        options["number_of_frames"] = 1
    try:
        values, properties = decoder.as_array(source, index=0, **options)
    except (RuntimeError, NotImplementedError) as error:  # no decoder, or all failed
        raise _undecodable(element.syntax) from error
    return values, str(properties["photometric_interpretation"])


def _options(dataset: pydicom.Dataset, element: PixelElement) -> dict[str, Any]:
    dataset.add_new("NumberOfFrames", "IS", frame_count(dataset))
    return as_pixel_options(
        dataset, pixel_keyword=element.keyword, pixel_vr=element.vr or "OW", correct_unused_bits=False
    )


def frame_count(dataset: pydicom.Dataset) -> int:
    """Return how many frames a file says that it holds: 1 where it says nothing valid."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):  # such as "1A": the first frame is there all the same
        return 1


def _checked_stream(content: bytes, syntax: UID, options: dict[str, Any]) -> CodeStream | None:
    if not str(syntax).startswith(_CODE_STREAMS):
        return None
    stream = read_code_stream_header(content)
    if stream is None:
        raise _undecodable(syntax)
    declared = (options["rows"], options["columns"], options["samples_per_pixel"])
    found = (stream.height, stream.width, stream.components)
    if declared != found:
        as_text = " × ".join
        raise UnreadableImageError(
            f"it declares {as_text(map(str, declared))} values, and its compressed pixels {as_text(map(str, found))}"
        )
    return stream


def _decode_12_bits(content: bytes, dataset: pydicom.Dataset) -> NDArray[np.number]:
    # GDCM decodes them; pydicom 3.0 does not let it ("does not support").
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(content)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, int(dataset.PixelRepresentation)))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # a char* that SWIG gives as text
    dtype = "<i2" if dataset.PixelRepresentation else "<u2"
    return np.frombuffer(decoded, dtype).reshape(dataset.Rows, dataset.Columns).copy()


def _undecodable(syntax: UID) -> UnreadableImageError:
    known = str(syntax) in UID_dictionary
    return UnreadableImageError(
        f"its pixels are compressed as {printable(UID_dictionary[str(syntax)][0], 60) if known else 'nothing known'}, "
        "and damaged or of a kind that is not decoded",
        "export it as an uncompressed DICOM file or as PNG",
    )


def _cut_to_stored_bits(values: NDArray[np.number], dataset: pydicom.Dataset, shifted: bool) -> None:
    """Keep the bits that count, in place; a code stream holds no others, and has them lowest."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = _whole(dataset, "HighBit")
    if high is None or not shifted:
        high = stored - 1
    if not stored - 1 <= high < allocated:
        raise UnreadableImageError(f"its HighBit {high} contradicts {stored} bits stored of {allocated} allocated")
    if stored < allocated:
        np.left_shift(values, allocated - 1 - high, out=values)
        np.right_shift(values, allocated - stored, out=values)  # carries the sign of signed values


def _padding_limits(dataset: pydicom.Dataset, dtype: np.dtype) -> tuple[int, int] | None:
    value = _whole(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _whole(dataset, "PixelPaddingRangeLimit")
    smallest, count = int(np.iinfo(dtype).min), 1 << 8 * dtype.itemsize
    # Signed and unsigned are mixed up in files: the bits count.
    low, high = sorted((number - smallest) % count + smallest for number in (value, value if limit is None else limit))
    return low, high


def _between(values: NDArray[np.number], low: int, high: int) -> NDArray[np.bool_]:
    return values == low if low == high else (values >= low) & (values <= high)


def _whole(dataset: pydicom.Dataset, keyword: str) -> int | None:
    value = dataset.get(keyword)
    if isinstance(value, bytes) and len(value) == 2:  # US or SS, which pydicom leaves open where it cannot tell
        return int.from_bytes(value, "little")
    return value if isinstance(value, int) else None
