"""Read a dataset file, refusing a damaged one before anything is computed on it."""

import io
import math
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models.bounds import NPY_HEADER_BYTES, UNPACKED_BYTES
from models.choices import Split
from models.errors import InputError
from models.text import printable, reason
from models.zip_archive import open_archive

SPLITS: tuple[Split, ...] = ("train", "val", "test")
ARRAYS = tuple(f"{split}_{part}" for part in ("images", "labels") for split in SPLITS)
MAXIMUM_BYTES = UNPACKED_BYTES  # all official files of 28 and 64 pixels are below it

_NPY_PREFIX_BYTES = 12  # magic, version and the header's length
_SHOWN_MEMBERS = 2
_MOST_AXES = 8  # no image has more, and its shape can be shown


@dataclass(frozen=True)
class Splits:
    """The dataset in memory, its fields named as the arrays of the file.

    Attributes:
        train_images: uint8, shape (images, size, size) if grey, (images, size, size, 3) if in colour.
        val_images: likewise.
        test_images: likewise.
        train_labels: one class per image, int64, shape (images,); or of several labels per image which it has, 0 or 1,
            shape (images, labels).
        val_labels: likewise.
        test_labels: likewise.
    """

    train_images: NDArray[np.uint8]
    val_images: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    val_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]

    def images(self, split: Split) -> NDArray[np.uint8]:
        """Look up the images of a split by its name, shape as in `train_images`."""
        images: NDArray[np.uint8] = getattr(self, f"{split}_images")
        return images

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Look up the labels of a split by its name, shape as in `train_labels`."""
        labels: NDArray[np.int64] = getattr(self, f"{split}_labels")
        return labels


def read_splits(
    source: Path | bytes,
    *,
    labels: Mapping[int, str],
    size: int,
    channels: int,
    name: str = "the dataset",
    several: bool = False,
) -> Splits:
    """Read and check a dataset in MedMNIST's layout.

    Headers are checked first, so that nothing is unpacked, or allocated, for a file that declares the wrong shapes.

    Args:
        source: the `.npz` file, or its content.
        labels: the classes, from label to name.
        size: expected height and width of the images in pixels.
        channels: 1 for grey images, 3 for colour images.
        name: what messages call the file when its content is given; a path speaks for itself.
        several: whether an image may have several of the labels, or none.

    Returns:
        The arrays.

    Raises:
        InputError: the file is damaged, or is not what was expected; the message names the file and the array.
    """
    if isinstance(source, Path):
        name = str(source)
    try:
        if isinstance(source, Path):
            refuse_oversize(name, source.stat().st_size)
        content = io.BytesIO(source.read_bytes() if isinstance(source, Path) else source)
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}): give a readable .npz file.") from error
    with _open_archive(content, name) as archive:
        members = _members(archive, name)
        headers = {array: _read_header(archive, member, name, array) for array, member in members.items()}
        lengths = {array: member.file_size for array, member in members.items()}
        _check_headers(headers, lengths, size, channels, name, len(labels) if several else 1)
        arrays = {array: _read_array(archive, member, name, array) for array, member in members.items()}
    for array in ARRAYS:
        if array.endswith("_labels"):
            check = _check_several_labels if several else _check_labels
            arrays[array] = check(arrays[array], labels, name, array)
    return Splits(**arrays)


def refuse_oversize(name: str, unpacked: int) -> None:
    """Refuse a dataset that does not fit into memory.

    Args:
        name: what the message calls the file.
        unpacked: bytes of its arrays.

    Raises:
        InputError: they are more than `MAXIMUM_BYTES`.
    """
    if unpacked > MAXIMUM_BYTES:
        raise InputError(
            f"{name} unpacks to {unpacked / 2**30:.1f} GiB: expected at most {MAXIMUM_BYTES / 2**30:.0f} GiB, since "
            "the dataset is held in memory; use fewer or smaller images (--dataset.size)."
        )


def dump_splits(splits: Splits) -> bytes:
    """Write the dataset in MedMNIST's layout, which `read_splits` reads back.

    NumPy gives every member the same 1980 timestamp, so the same arrays give the same bytes.

    Args:
        splits: the arrays.

    Returns:
        Content of an `.npz` file.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **vars(splits))
    return buffer.getvalue()


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype
    length: int  # bytes before the array's own


def _open_archive(content: io.BytesIO, name: str) -> zipfile.ZipFile:
    try:
        return open_archive(content, len(content.getbuffer()))
    except ValueError as error:
        raise InputError(
            f"{name} is not read, since {error}: expected the arrays {', '.join(ARRAYS)} alone, as NumPy writes them."
        ) from error
    except Exception as error:  # of whatever kind zipfile raises over bytes that are no archive
        if content.getvalue()[:4] == b"PK\x03\x04":
            problem = "is a truncated or damaged .npz file: its table of contents cannot be read"
        else:
            problem = "is not an .npz file: expected a zip archive of arrays"
        raise InputError(f"{name} {problem}; copy or download it again.") from error


def _members(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    found = Counter(member.filename for member in archive.infolist())
    expected = [f"{array}.npy" for array in ARRAYS]
    missing = [array for array in ARRAYS if f"{array}.npy" not in found]
    if missing:
        raise InputError(
            f"{name} lacks the array {', '.join(missing)}: expected exactly {', '.join(ARRAYS)}, "
            "as in MedMNIST's files."
        )
    extra = sorted(member for member, times in found.items() if member not in expected or times > 1)
    if extra:
        shown = ", ".join(printable(member, 30) for member in extra[:_SHOWN_MEMBERS])
        more = f" and {len(extra) - _SHOWN_MEMBERS} more" if len(extra) > _SHOWN_MEMBERS else ""
        raise InputError(
            f"{name} holds the unexpected or repeated array {shown}{more}: expected the images and labels of train, "
            "val and test, once each; remove it."
        )
    return {array: archive.getinfo(f"{array}.npy") for array in ARRAYS}


def _read_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, array: str) -> _Header:
    try:
        with archive.open(member) as file:
            return _parse_header(io.BytesIO(file.read(_NPY_PREFIX_BYTES + NPY_HEADER_BYTES)))
    except Exception as error:  # a header is parsed as Python, which fails in many ways, and deflate in others
        raise _damaged(name, array, error) from error


def _parse_header(file: IO[bytes]) -> _Header:
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"unknown .npy version {version}")
    if len(shape) > _MOST_AXES or not all(abs(length) < 2**63 for length in shape):
        raise ValueError("its shape is impossible")
    return _Header(shape, dtype, file.tell())


def _check_headers(
    headers: Mapping[str, _Header], lengths: Mapping[str, int], size: int, channels: int, name: str, columns: int
) -> None:
    for array, header in headers.items():
        if header.dtype.hasobject:
            raise InputError(
                f"{name}: {array} holds Python objects, which are never unpickled: expected numbers; "
                "save it as an integer array."
            )
        if array.endswith("_images"):
            _check_image_header(header, size, channels, name, array)
        else:
            _check_label_header(header, name, array, columns)
        if math.prod(header.shape) == 0:
            raise InputError(f"{name}: {array} is empty: expected at least one image of each class in every split.")
        declared = header.length + math.prod(header.shape) * header.dtype.itemsize
        if declared != lengths[array]:
            raise InputError(
                f"{name}: {array} declares the shape {header.shape} ({declared} bytes) but holds {lengths[array]} "
                "bytes: expected the two to agree; copy or download the file again."
            )
    refuse_oversize(name, sum(lengths.values()))
    for split in SPLITS:
        images, labels = headers[f"{split}_images"].shape[0], headers[f"{split}_labels"].shape[0]
        if images != labels:
            raise InputError(
                f"{name}: {split}_images holds {images} images but {split}_labels {labels} labels: "
                "expected one label per image."
            )


def _check_image_header(header: _Header, size: int, channels: int, name: str, array: str) -> None:
    shape = header.shape
    if channels == 1:
        kind, expected, remedy = "grey", f"(images, {size}, {size})", "convert them to one channel without its axis"
    else:
        kind, expected, remedy = "colour", f"(images, {size}, {size}, 3)", "repeat the grey level in three channels"
    found = {3: "grey", 4: "colour"}.get(len(shape))
    if found is None or shape[1] != shape[2] or shape[3:] not in ((), (3,)):
        raise InputError(f"{name}: {array} has the shape {shape}: expected square {kind} images of shape {expected}.")
    if found != kind:
        raise InputError(
            f"{name}: {array} holds {found} images of shape {shape}: expected {kind} images of shape {expected}; "
            f"{remedy}, or set --dataset.name to a set of {found} images."
        )
    if shape[1] != size:
        raise InputError(
            f"{name}: {array} holds images of {shape[1]}×{shape[1]} pixels: expected {size}×{size}; "
            f"set --dataset.size to the size in the file or use a file of size {size}."
        )
    if header.dtype != np.uint8:
        raise InputError(
            f"{name}: {array} has the type {printable(header.dtype)}: expected uint8, levels from 0 to 255."
        )


def _check_label_header(header: _Header, name: str, array: str, columns: int) -> None:
    shape = header.shape
    if columns > 1 and shape[1:] != (columns,):
        raise InputError(
            f"{name}: {array} has the shape {shape}: expected which labels each image has, (images, {columns})."
        )
    if columns == 1 and (len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1)):
        raise InputError(
            f"{name}: {array} has the shape {shape}: expected one label per image, (images, 1) or (images,)."
        )
    if header.dtype.kind not in "iu":
        raise InputError(f"{name}: {array} has the type {printable(header.dtype)}: expected integer labels.")


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, array: str) -> NDArray:
    try:
        with archive.open(member) as file:
            values = npy.read_array(file, allow_pickle=False)
            file.read()  # to the end, where zipfile compares the checksum
    except Exception as error:  # of zlib, zipfile and NumPy
        raise _damaged(name, array, error) from error
    return np.ascontiguousarray(values)


def _check_labels(values: NDArray, labels: Mapping[int, str], name: str, array: str) -> NDArray[np.int64]:
    values = values.reshape(-1)
    known = ", ".join(f"{label} ({word})" for label, word in sorted(labels.items()))
    strange = np.flatnonzero(~np.isin(values, list(labels)))
    if len(strange):
        raise InputError(
            f"{name}: {array} holds the label {values[strange[0]]} at index {strange[0]}: expected one of {known}."
        )
    absent = [f"{label} ({word})" for label, word in sorted(labels.items()) if not (values == label).any()]
    if absent:
        raise InputError(
            f"{name}: {array} holds no case of the class {', '.join(absent)}: expected every split to hold "
            f"each of {known}, since a class without cases can be neither learned nor measured."
        )
    return values.astype(np.int64)


def _check_several_labels(values: NDArray, labels: Mapping[int, str], name: str, array: str) -> NDArray[np.int64]:
    if strange := np.argwhere((values != 0) & (values != 1)).tolist():
        image, label = strange[0]
        raise InputError(
            f"{name}: {array} holds {values[image, label]} for the label {labels[label]} of the image at index "
            f"{image}: expected 1 where the image has it, else 0."
        )
    alike = [word for label, word in sorted(labels.items()) if len(np.unique(values[:, label])) < 2]
    if alike:
        more = f" (and {len(alike) - 1} more labels)" if len(alike) > 1 else ""
        raise InputError(
            f"{name}: {array} has the label {alike[0]}{more} in all images or in none: expected every split to hold "
            "images with it and without it, since else it can be neither learned nor measured."
        )
    return values.astype(np.int64)


def _damaged(name: str, array: str, error: Exception) -> InputError:
    return InputError(
        f"{name}: {array} is damaged and cannot be unpacked ({reason(error)}): expected an intact .npy array; "
        "copy or download the file again."
    )
