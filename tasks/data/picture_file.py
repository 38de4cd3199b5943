"""Read the picture in a PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 file."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from tasks.data.code_streams import read_code_stream_header
from tasks.data.grey_levels import refuse_size, to_grey_levels

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")  # of Pillow's, those without programs inside
_HEADER_BYTES = 1 << 20  # in which the size of a JPEG 2000 code stream stands
_PHOTOMETRIC, _SAMPLE_FORMAT, _SIGNED = 262, 339, 2  # of TIFF 6.0
_WHITE_IS_ZERO = 0

# Pillow reads 16 bits whose smallest value is white in one byte order only.
TiffImagePlugin.OPEN_INFO[b"MM", _WHITE_IS_ZERO, (1,), 1, (16,), ()] = ("I;16B", "I;16B")


def read_picture(file: BinaryIO) -> NDArray[np.uint8]:
    """Read the first picture of a file in grey.

    Colour becomes grey by the luma of ITU-R BT.601, transparent places become black, the orientation (EXIF) is
    followed, and more than 8 bits are scaled as `tasks.data.grey_levels.to_grey_levels` says. A TIFF's
    PhotometricInterpretation and SampleFormat are followed. Resolutions are not, as in browsers and viewers: many
    programs write them at random.

    Args:
        file: positioned at the beginning.

    Returns:
        Grey levels from 0 (black) to 255, shape (height, width).

    Raises:
        PIL.UnidentifiedImageError: it is no such file.
        tasks.data.unreadable.UnreadableImageError: it is too large, or holds NaN or infinity.
        Exception: what Pillow makes of a damaged file.
    """
    with Image.open(file, formats=_FORMATS) as picture:
        refuse_size(picture.height, picture.width)
        if picture.format == "JPEG2000":
            file.seek(0)
            read_code_stream_header(file.read(_HEADER_BYTES))  # refuses what is too large
            file.seek(0)
        tags = dict(picture.tag_v2) if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        upright: Image.Image = picture
    values = np.asarray(upright)
    signed = _SIGNED in np.ravel(tags.get(_SAMPLE_FORMAT, 1))
    if upright.mode == "L" and signed:  # which Pillow takes for unsigned
        return to_grey_levels(values.view(np.int8))
    if upright.mode.startswith(("I", "F")):  # more than 8 bits
        if upright.mode == "I" and tags and not signed:
            values = values.view(np.uint32)
        levels = to_grey_levels(values)
        # Pillow inverts up to 8 bits itself.
        return 255 - levels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else levels
    if upright.has_transparency_data:
        black = Image.new("RGBA", upright.size, "black")
        upright = Image.alpha_composite(black, upright.convert("RGBA"))
    return np.array(upright.convert("L"))
