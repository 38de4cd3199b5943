"""Tell by its content what a picture file is, and read it."""

from typing import BinaryIO

from PIL import UnidentifiedImageError

from models.errors import InputError
from models.text import printable
from tasks.data.pictures.picture_facts import Picture
from tasks.data.pictures.picture_file import read_picture
from tasks.data.pictures.unreadable import UnreadableImageError

EXPECTED = "an image file (PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000 or DICOM)"

_MARKS = {
    "PNG": (b"\x89PNG",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
    "GIF": (b"GIF8",),
    "WebP": (b"RIFF",),
    "JPEG 2000": (b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"),
}
_PREAMBLE = 128  # bytes before the mark "DICM" of a DICOM file
BEGINNING = _PREAMBLE + 4
"""Bytes of a file that tell whether it is DICOM."""
# Old files have neither preamble nor mark: they begin with the number of a group, 0002 or 0008, in either byte order.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")


def is_dicom(beginning: bytes) -> bool:
    """Tell by its first `BEGINNING` bytes whether a file is DICOM."""
    return beginning[_PREAMBLE:BEGINNING] == b"DICM" or beginning[:2] in _FIRST_GROUPS


def decode(file: BinaryIO, name: str, *, colour: bool = False) -> Picture:
    """Read the picture in a file. It runs in the process of `tasks.data.pictures.decoding_process`.

    Args:
        file: positioned at the beginning.
        name: what a message calls the file, printable.
        colour: whether its colours are wanted.

    Returns:
        Its grey levels or its colours, and what else is known of it.

    Raises:
        InputError: its content is no picture, damaged or contradictory, or is DICOM where colours are wanted.
        MemoryError: it needs more memory than there is.
    """
    beginning = file.read(BEGINNING)
    file.seek(0)
    dicom = is_dicom(beginning)
    if dicom and colour:
        raise InputError(
            f"{name} is a DICOM file, which is read in grey, but the images of this dataset are in colour: export it "
            "as PNG."
        )
    try:
        return _read_dicom(file, name) if dicom else read_picture(file, colour=colour)
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        if kind := next((kind for kind, marks in _MARKS.items() if beginning.startswith(marks)), None):
            raise InputError(
                f"{name} cannot be read (it is a {kind} file, damaged or of a kind that is not read): a whole, "
                "undamaged image was expected; export it again, as PNG with 8 or 16 bits."
            ) from error
        raise InputError(
            f"{name} is no image: {EXPECTED} was expected, whatever its name ends in; convert it or name another."
        ) from error
    except UnreadableImageError as error:
        raise InputError(
            f"{name} cannot be read ({error}): a whole, undamaged image was expected; {error.advice}."
        ) from error
    except Exception as error:  # decoders raise anything when the bytes are damaged
        # What pydicom says may quote any field of the file, a patient's name for instance.
        reason = "its header or its pixels are damaged" if dicom else printable(error).rstrip(".")
        raise InputError(
            f"{name} cannot be read ({reason or type(error).__name__}): a whole, undamaged image was expected; export "
            "or copy it again."
        ) from error


def _read_dicom(file: BinaryIO, name: str) -> Picture:
    from tasks.data.pictures.dicom_file import (
        read_dicom,  # takes a second to import, which other files need not wait for
    )

    return read_dicom(file, name)
