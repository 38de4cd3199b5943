"""Zip archives (.npz, .pth) that may be damaged or hostile, bounded before any member is read."""

import zipfile
from typing import IO

from models.bounds import UNPACKED_BYTES, ZIP_DIRECTORY_BYTES, ZIP_INFLATION, ZIP_INFLATION_FROM

_DIRECTORY_SIZE = 5  # where `zipfile._EndRecData` puts it
_LOCAL_HEADER_BYTES = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # all that NumPy and PyTorch write; others ask for memory


def open_archive(file: IO[bytes], size: int) -> zipfile.ZipFile:
    """Open an archive whose table of contents is short, and whose members neither overlap nor unpack to too much.

    Args:
        file: the archive.
        size: its bytes.

    Returns:
        The archive, for reading.

    Raises:
        ValueError: it breaks a bound of `models.bounds`.
        zipfile.BadZipFile: it is no archive.
    """
    # `zipfile` reads the whole table, a megabyte of which names ten thousand members, before it can be asked for any.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is not None and end[_DIRECTORY_SIZE] > ZIP_DIRECTORY_BYTES:
        raise ValueError(f"its table of contents has {end[_DIRECTORY_SIZE]} bytes, more than {ZIP_DIRECTORY_BYTES}")
    archive = zipfile.ZipFile(file)
    try:
        _check_members(archive, size)
    except ValueError:
        archive.close()
        raise
    return archive


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    starts = [*(member.header_offset for member in members), archive.start_dir]
    ends = [0, *(member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size for member in members)]
    if any(member.compress_type not in _METHODS for member in members):
        raise ValueError("a member is neither stored nor deflated")
    if any(end > start for end, start in zip(ends, starts, strict=True)):
        raise ValueError("its members overlap")
    unpacked = sum(member.file_size for member in members)
    if unpacked > UNPACKED_BYTES:
        raise ValueError(f"it unpacks to {unpacked / 2**30:.1f} GiB, more than {UNPACKED_BYTES / 2**30:.0f} GiB")
    if unpacked > max(ZIP_INFLATION_FROM, ZIP_INFLATION * size):
        raise ValueError(f"it unpacks to {unpacked // size} times its size, more than {ZIP_INFLATION} times")
