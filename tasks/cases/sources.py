"""Find the files that a person names, and read them: paths, folders, patterns and fsspec URIs."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from models.errors import InputError
from models.text import printable
from tasks.cases import archive
from tasks.data.pictures.image_file import MAXIMUM_FILE_BYTES
from tasks.execution.secrets import archive_login
from tasks.parameters.cases import CasesParameters
from tasks.records.cases import PictureFile

MOST_FILES = 100_000
_CHUNK = 1 << 20
_ANY_OF = frozenset("*?[")
_SETTLED_SECONDS = 10


class EmptyFolderError(InputError):
    """A folder or pattern without a file."""


def find_files(images: Sequence[str]) -> list[str]:
    """Find the files that are meant.

    Args:
        images: files, folders, of which all files count but those with a leading dot, patterns, or fsspec URIs of
            either.

    Returns:
        The address of each file once, those of a folder or pattern by name.

    Raises:
        EmptyFolderError: one holds nothing.
        InputError: one names nothing, cannot be looked into, or they are too many.
    """
    found = list(dict.fromkeys(address for image in images for address in _named(image)))
    if len(found) > MOST_FILES:
        raise InputError(f"{len(found):,} files are named, and a run takes at most {MOST_FILES:,}: name fewer at once.")
    return found


def identify(address: str, login_block: str = "") -> PictureFile:
    """Take the digest of a file.

    Args:
        address: where it lies.
        login_block: Prefect Secret block with the login of an archive, where it lies in one.

    Returns:
        The file.

    Raises:
        InputError: it cannot be read, is empty or too large.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(address, login_block):
        digest.update(chunk)
        size += len(chunk)
    name = file_name(address)
    return PictureFile(sha256=digest.hexdigest(), size=size, address=address, name=name, login_block=login_block)


def read(file: PictureFile) -> bytes:
    """Read a file that was identified.

    Raises:
        InputError: it cannot be read any more, or is another now.
    """
    content = b"".join(_chunks(file.address, file.login_block))
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise InputError(f"{file.name} changed while it was being read: run again once it is complete.")
    return content


def find_pictures(form: CasesParameters) -> list[str]:
    """Find the files and the pictures in an archive that a form names.

    Raises:
        EmptyFolderError: a folder, pattern or query names none.
        InputError: as `find_files`; nothing is named at all, or the archive cannot be asked.
    """
    if not form.images and form.dicomweb is None:
        raise InputError(
            "No picture is named: give --cases.images a file, a folder, a pattern or an address, or --cases.dicomweb "
            "an archive."
        )
    found = find_files(form.images)
    if form.dicomweb is not None:
        listed = archive.list_instances(
            form.dicomweb,
            login=archive_login(form.login_block),
            study=form.study,
            modalities=form.modality,
            body_part=form.body_part,
            since=form.since,
        )
        if not listed and not found:
            raise EmptyFolderError("The archive holds no such X-ray: ask for another study, body part or day.")
        found += listed
    return found


def is_settled(address: str) -> bool:
    """Tell whether a file has not been written to for a while; True where that is not known."""
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
        modified = filesystem.modified(path)
    except Exception:  # not all filesystems know, and a file may be gone by now
        return True
    return datetime.now(UTC) - modified.astimezone(UTC) > timedelta(seconds=_SETTLED_SECONDS)


def file_name(address: str) -> str:
    """Return the name of a file without its folders, which may name a patient; printable."""
    return printable(PurePosixPath(address.rstrip("/")).name or "picture", 80)


def _named(image: str) -> Iterator[str]:
    if archive.is_archive_address(image):
        yield image
        return
    shown = printable(image)
    try:
        filesystem, path = fsspec.core.url_to_fs(image, expand=False) if "://" in image else _local(image)
        if filesystem.isfile(path):
            paths = [path]
        elif filesystem.isdir(path):
            paths = [each for each in sorted(filesystem.find(path)) if not _hidden(each, path)]
        elif _ANY_OF & set(path):
            paths = [each for each in sorted(filesystem.glob(path)) if filesystem.isfile(each)]
        else:
            raise InputError(f"There is no file or folder {shown}: a picture was expected; correct --cases.images.")
    except InputError:
        raise
    except ImportError as error:
        raise InputError(
            f"{shown} cannot be opened, since a package is missing ({printable(error)}): install it, or copy the files."
        ) from error
    except Exception as error:  # each of fsspec's filesystems has errors of its own
        reason = printable(getattr(error, "strerror", None) or error) or type(error).__name__
        raise InputError(f"{shown} cannot be looked into ({reason}): correct --cases.images.") from error
    if not paths:
        raise EmptyFolderError(f"{shown} holds no file: pictures were expected; correct --cases.images.")
    yield from (filesystem.unstrip_protocol(each) if "://" in image else each for each in paths)


def _local(image: str) -> tuple[Any, str]:
    return fsspec.filesystem("file"), str(Path(image).expanduser().absolute())


def _hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in path.removeprefix(folder).split("/"))


def _chunks(address: str, login_block: str = "") -> Iterator[bytes]:
    """Read a file a part at a time, so that one that is too large is refused before it fills the memory."""
    if archive.is_archive_address(address):
        yield archive.retrieve(address, login=archive_login(login_block) if login_block else None)
        return
    name, size = file_name(address), 0
    try:
        with fsspec.open(address, "rb") as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > MAXIMUM_FILE_BYTES:
                    raise InputError(f"{name} is a file of more than {MAXIMUM_FILE_BYTES >> 30} GB; name a picture.")
                yield chunk
    except InputError:
        raise
    except Exception as error:
        reason = printable(getattr(error, "strerror", None) or error) or type(error).__name__
        raise InputError(f"{name} cannot be read ({reason}): check that it is there and may be read.") from error
    if not size:
        raise InputError(f"{name} is an empty file: a picture was expected; copy it again.")
