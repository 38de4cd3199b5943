"""Read one image from disk, and bring it to the size of the dataset's images."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import InputError
from tasks.data.grey_levels import refuse_size, to_grey_levels

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")  # of Pillow's, those without programs inside
_PREAMBLE = 128  # bytes before the mark "DICM" of a DICOM file
# Old files have neither preamble nor mark: they begin with the number of a group, 0002 or 0008, in either byte order.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
_EXPECTED = "an image file (PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000 or DICOM)"


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file of any size in grey.

    What a file is, is told by its content, never by its name. Colour becomes grey by the luma of ITU-R BT.601,
    transparent places become black, a photograph's orientation (EXIF) is followed, of several pictures or frames the
    first counts, and more than 8 bits are scaled as `tasks.data.grey_levels.to_grey_levels` says. For DICOM see
    `tasks.data.dicom_file.read_dicom`.

    Args:
        path: the file; a leading `~` is the home folder.

    Returns:
        Grey levels from 0 (black) to 255, shape (height, width).

    Raises:
        InputError: there is no such file, it is no image, or it is damaged or too large to be read.
    """
    path = Path(path).expanduser()
    with _open(path) as file:
        try:
            return _read_dicom(file, str(path)) if _is_dicom(file) else _read_picture(file)
        except InputError:
            raise
        except UnidentifiedImageError as error:
            raise InputError(
                f"{path} is no image: {_EXPECTED} was expected, whatever its name ends in; convert it or name another."
            ) from error
        except Exception as error:  # decoders raise anything when the bytes are damaged
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"{path} cannot be read ({reason.rstrip('.')}): a whole, undamaged image was expected; export or copy "
                "it again."
            ) from error


def to_model_size(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut out the middle square and resize it, as the dataset's own images were made.

    MedMNIST's chest X-rays were "center-cropped with a window size of length of the short edge" and resized (Yang et
    al., "MedMNIST v2", Scientific Data 2023). Resizing is bicubic and averages what it shrinks.

    Args:
        image: grey levels, shape (height, width).
        size: height and width of the result in pixels.

    Returns:
        Grey levels, shape (size, size); an image of that size comes back as it is.
    """
    height, width = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.array(square.resize((size, size), Image.Resampling.BICUBIC))


def _open(path: Path) -> BinaryIO:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size:
            return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}: {_EXPECTED} was expected; correct the path.") from error
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(
            f"{path} cannot be opened ({reason}): {_EXPECTED} was expected; correct the path or its permissions."
        ) from error
    kind = {stat.S_IFDIR: "a folder", stat.S_IFREG: "an empty file"}
    found = kind.get(stat.S_IFMT(status.st_mode), "no regular file")
    raise InputError(f"{path} is {found}: {_EXPECTED} was expected; name one.")


def _is_dicom(file: BinaryIO) -> bool:
    beginning = file.read(_PREAMBLE + 4)
    file.seek(0)
    return beginning[_PREAMBLE:] == b"DICM" or beginning[:2] in _FIRST_GROUPS


def _read_dicom(file: BinaryIO, name: str) -> NDArray[np.uint8]:
    from tasks.data.dicom_file import read_dicom  # takes a second to import, which other files need not wait for

    return read_dicom(file, name)


def _read_picture(file: BinaryIO) -> NDArray[np.uint8]:
    with Image.open(file, formats=_FORMATS) as picture:
        refuse_size(picture.height, picture.width)
        upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith(("I", "F")):  # more than 8 bits
        return to_grey_levels(np.asarray(upright))
    if upright.has_transparency_data:
        black = Image.new("RGBA", upright.size, "black")
        upright = Image.alpha_composite(black, upright.convert("RGBA"))
    return np.array(upright.convert("L"))
