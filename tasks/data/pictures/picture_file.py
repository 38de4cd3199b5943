"""Read the picture in a PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 file."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from tasks.data.pictures.code_streams import read_code_stream_header
from tasks.data.pictures.grey_levels import refuse_size, to_grey_levels
from tasks.data.pictures.picture_facts import Picture, measure, picture_coloured_share

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")  # of Pillow's, those without programs inside
_HEADER_BYTES = 1 << 20  # in which the size of a JPEG 2000 code stream stands
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 259, 262, 339  # fields of TIFF 6.0
_NONE, _WHITE_IS_ZERO, _SIGNED = 1, 0, 2  # of compression, photometric interpretation, sample format
_GREY = ("L", "I", "I;16", "I;16B", "F")

# Pillow reads 16 bits whose smallest value is white in one byte order only.
TiffImagePlugin.OPEN_INFO[b"MM", _WHITE_IS_ZERO, (1,), 1, (16,), ()] = ("I;16B", "I;16B")


def read_picture(file: BinaryIO, *, colour: bool = False) -> Picture:
    """Read the first picture of a file, in grey unless colours are asked for.

    Colour becomes grey by the luma of ITU-R BT.601, transparent places become black, the orientation (EXIF) is
    followed, and more than 8 bits are scaled as `tasks.data.pictures.grey_levels.to_grey_levels` says. A TIFF's
    PhotometricInterpretation and SampleFormat are followed. Resolutions are not, as in browsers and viewers: many
    programs write them at random.

    Args:
        file: positioned at the beginning.
        colour: whether its colours are wanted, of which a grey picture has equal ones.

    Returns:
        Its grey levels or its colours, and what else is known of it.

    Raises:
        PIL.UnidentifiedImageError: it is no such file.
        tasks.data.pictures.unreadable.UnreadableImageError: it is too large, or holds NaN or infinity.
        Exception: what Pillow makes of a damaged file.
    """
    with Image.open(file, formats=_FORMATS) as picture:
        refuse_size(picture.height, picture.width)
        if picture.format == "JPEG2000":
            file.seek(0)
            read_code_stream_header(file.read(_HEADER_BYTES))  # refuses what is too large
            file.seek(0)
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.mode in _GREY:
            levels = _grey_tiff(picture)
        else:
            levels = _levels(picture)
        facts = measure(levels, coloured=picture_coloured_share(picture))
        if not colour:
            return Picture(levels, facts)
        grey = picture.mode in _GREY
        return Picture(np.repeat(levels[..., None], 3, axis=2) if grey else _levels(picture, "RGB"), facts)


def _levels(upright: Image.Image, mode: str = "L") -> NDArray[np.uint8]:
    if upright.mode.startswith(("I", "F")):  # more than 8 bits
        return to_grey_levels(np.asarray(upright))
    if upright.has_transparency_data:
        black = Image.new("RGBA", upright.size, "black")
        upright = Image.alpha_composite(black, upright.convert("RGBA"))
    return np.array(upright.convert(mode))


def _grey_tiff(picture: TiffImagePlugin.TiffImageFile) -> NDArray[np.uint8]:
    """What TIFF says of grey values beyond what Pillow follows (13.0)."""
    tags = picture.tag_v2
    signed = _SIGNED in np.ravel(tags.get(_SAMPLE_FORMAT, 1))
    values = np.asarray(picture)
    if picture.mode == "L":  # whose photometric interpretation Pillow follows
        return to_grey_levels(values.view(np.int8)) if signed else values.copy()
    if picture.mode in ("I", "F") and tags.prefix == b"MM" and tags.get(_COMPRESSION, _NONE) != _NONE:
        # libtiff has brought these to the byte order of this machine, and Pillow swaps them once more.
        cells = np.int16 if 16 in np.ravel(tags[_BITS]) else values.dtype
        values = values.astype(cells).byteswap()
    elif picture.mode == "I" and not signed:
        values = values.view(np.uint32)
    levels = to_grey_levels(values)
    return 255 - levels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else levels
