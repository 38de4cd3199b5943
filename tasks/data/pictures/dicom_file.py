"""Read the picture in a DICOM file as a screen would show it."""

import io
import math
import zlib
from typing import Any, BinaryIO

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset, read_partial, read_preamble, read_sequence_item
from pydicom.pixels import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from models.bounds import DICOM_INFLATED_BYTES
from models.errors import InputError
from tasks.data.pictures.dicom_display import displayed
from tasks.data.pictures.dicom_pixels import PIXEL_KEYWORDS, PixelElement, frame_count, read_frame
from tasks.data.pictures.dicom_terms import body_part, modality
from tasks.data.pictures.grey_levels import luma, to_grey_levels, to_square_pixels
from tasks.data.pictures.picture_facts import Picture, coloured_share, measure
from tasks.data.pictures.unreadable import UnreadableImageError

MAXIMUM_READS = 50_000  # pieces of the header, two or three for each element; a quarter of a second to take apart

_BLOCK = 1 << 20
# Of an enhanced file what concerns the values stands in groups, for all frames and for each (PS3.3 C.7.6.16.2).
_FUNCTIONAL_GROUPS = {
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "FramePixelDataPropertiesSequence": ("ImagerPixelSpacing",),
}
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")


def read_dicom(file: BinaryIO, name: str) -> Picture:
    """Read the first frame of a DICOM file.

    Grey pictures are shown as `dicom_display.displayed` says; palettes, RGB and YBR become grey. Pixels
    that are not square (PixelSpacing, ImagerPixelSpacing, NominalScannedPixelSpacing, PixelAspectRatio) are made so.
    Overlays are not drawn.

    Args:
        file: positioned at the beginning.
        name: what a message calls the file.

    Returns:
        Its grey levels, and what else is known of it.

    Raises:
        InputError: it holds no pixels.
        unreadable.UnreadableImageError: it is damaged, contradictory, too large or compressed in a way that
            cannot be decoded here.
        Exception: what pydicom makes of a damaged file. Its text may quote the file and must not be shown.
    """
    dataset, element = _parse(file)
    if element is None:
        raise InputError(
            f"{name} is a DICOM file without pixels ({_kind(dataset)}): an image was expected; name the file that "
            "holds the X-ray itself, and export it again if it was cut off."
        )
    _flatten_sequences(dataset)
    frame = read_frame(dataset, element)
    coloured = 0.0
    if frame.photometric in ("MONOCHROME1", "MONOCHROME2"):
        levels = displayed(frame.values, frame.padding, dataset)
    else:
        palette = frame.photometric == "PALETTE COLOR"
        colors = to_grey_levels(apply_color_lut(frame.values, dataset)[..., :3] if palette else frame.values)
        levels, coloured = luma(colors), coloured_share(colors)
    levels = to_square_pixels(levels, _aspect(dataset))
    facts = measure(
        levels,
        coloured=coloured,
        dicom=True,
        frames=frame_count(dataset),
        modality=modality(dataset),
        body_part=body_part(dataset),
    )
    return Picture(levels, facts)


def read_header(file: BinaryIO) -> pydicom.Dataset:
    """Read what stands before the pixels of a DICOM file, within the bounds that hold for its picture.

    Args:
        file: positioned at the beginning.

    Returns:
        The elements as they lie in the file, none taken apart; without pixels.

    Raises:
        unreadable.UnreadableImageError: it has too many pieces, or inflates to too much.
        Exception: what pydicom makes of a damaged file. Its text may quote the file and must not be shown.
    """
    return _parse(file)[0]


class _BoundedReads:
    """A file as pydicom reads it, which ends a header of endless pieces and gives no more than there is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._reads = 0
        self.refusal: UnreadableImageError | None = None
        file.seek(0)
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > MAXIMUM_READS:  # pydicom may make another error of it
            self.refusal = UnreadableImageError(f"its header has more than {MAXIMUM_READS:,} pieces")
            raise self.refusal
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))


def _parse(file: BinaryIO) -> tuple[pydicom.Dataset, PixelElement | None]:
    """Read what stands before the pixels, and find these."""
    found: list[tuple[str, str | None]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXEL_KEYWORDS:
            found.append((PIXEL_KEYWORDS[tag], vr))
        return tag in PIXEL_KEYWORDS

    bounded: Any = _BoundedReads(file)  # pydicom calls no other methods
    try:
        read_preamble(bounded, force=True)
        meta = read_dataset(bounded, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if _is_deflated(meta):
            file = io.BytesIO(_inflated(file))
            bounded = _BoundedReads(file)
            dataset = read_dataset(bounded, False, True, stop_when=at_pixels)
            syntax: UID | None = DeflatedExplicitVRLittleEndian
        else:
            file.seek(0)
            whole = read_partial(bounded, stop_when=at_pixels, force=True)
            dataset, syntax = whole, whole.file_meta.get("TransferSyntaxUID")
    except Exception as error:
        raise bounded.refusal or error from None
    if not found:
        return dataset, None
    keyword, vr = found[0]
    if syntax is None:  # without file meta information
        explicit = ExplicitVRLittleEndian if dataset.original_encoding[1] else ExplicitVRBigEndian
        syntax = ImplicitVRLittleEndian if vr is None else explicit
    file.seek(8 if vr is None else 12, io.SEEK_CUR)
    return dataset, PixelElement(file, keyword, vr, syntax)


def _is_deflated(meta: pydicom.Dataset) -> bool:
    try:
        return bool(meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian)
    except NotImplementedError:  # of an unknown value representation; pydicom tries another when it reads the whole
        return False


def _inflated(file: BinaryIO) -> bytes:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    content = io.BytesIO()
    while block := file.read(_BLOCK):
        while block and not inflate.eof:  # what follows is padding
            content.write(inflate.decompress(block, _BLOCK))
            if content.tell() > DICOM_INFLATED_BYTES:
                raise UnreadableImageError(f"it inflates to more than {DICOM_INFLATED_BYTES >> 20} MB")
            block = inflate.unconsumed_tail
    return content.getvalue()


def _kind(dataset: pydicom.Dataset) -> str:
    uid = str(dataset.get("SOPClassUID") or "")
    return UID_dictionary[uid][0] if uid in UID_dictionary else "of no known kind"


def _flatten_sequences(dataset: pydicom.Dataset) -> None:
    """Bring what functional groups say of the first frame to the top; of other sequences keep the first item."""
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):  # the frame's own goes last
        groups = _first_item(dataset, keyword)
        for group, keywords in _FUNCTIONAL_GROUPS.items():
            item = _first_item(groups, group) if groups is not None else None
            for inner in keywords:
                if item is not None and inner in item:
                    dataset[inner] = item[inner]
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        if (item := _first_item(dataset, keyword)) is not None:
            dataset.add_new(keyword, "SQ", [item])  # setting an attribute would first take the old value apart


def _first_item(dataset: pydicom.Dataset, keyword: str) -> pydicom.Dataset | None:
    """The first item of a sequence; the others, which may be millions, are not taken apart."""
    if keyword not in dataset:
        return None
    element: Any = dataset.get_item(keyword)
    if not isinstance(element, RawDataElement):
        return element.value[0] if element is not None and element.value else None
    if not element.value:
        return None
    bounded: Any = _BoundedReads(io.BytesIO(element.value))
    try:
        return read_sequence_item(
            bounded, element.is_implicit_VR, element.is_little_endian, dataset.original_character_set
        )
    except Exception as error:
        raise bounded.refusal or error from None


def _aspect(dataset: pydicom.Dataset) -> float:
    """Height of a pixel divided by its width; 1 where nothing valid is said."""
    for keyword in _SPACINGS:
        spacing = dataset.get(keyword) or ()
        if isinstance(spacing, pydicom.multival.MultiValue) and len(spacing) == 2 and None not in spacing:
            height, width = map(float, spacing)
            if 0 < height < math.inf and 0 < width < math.inf:
                return height / width
    return 1.0
