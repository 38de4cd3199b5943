"""An index as bytes, and as a file that can be read on demand.

FAISS's own format comes first, so that FAISS reads the file, too (it ignores what follows). Behind it stand a JSON
header, ids and labels as little-endian int64, the lengths of the first two parts, and a SHA-256 over all of it but
FAISS's part, whose own SHA-256 the header holds: so the small parts can be verified without reading the vectors.
"""

import hashlib
import json
import os
import struct
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models.bounded_json import parse_json
from models.errors import InputError
from models.text import printable
from models.vector_index.index import VectorIndex
from models.vector_index.kinds import Kind, Metric, faiss_metric
from models.vector_index.structures import wrap

_LENGTHS = struct.Struct("<QQ")  # bytes of FAISS's part, bytes of the header
_DIGEST_BYTES = hashlib.sha256().digest_size
_FOOTER_BYTES = _LENGTHS.size + _DIGEST_BYTES
_INT64 = np.dtype("<i8")
_one_reads = threading.Lock()  # FAISS's limits are the process's
_PIECE = 1 << 20  # bytes that FAISS hands over at a time


def dump(index: VectorIndex) -> bytes:
    """Serialise an index.

    Args:
        index: the index.

    Returns:
        The bytes, the same for the same index.

    Raises:
        InputError: the index is memory-mapped.
    """
    pieces: list[bytes] = []
    write(index, pieces.append)
    return b"".join(pieces)


def save(index: VectorIndex, path: Path) -> None:
    """Write an index to a file, a piece at a time; the file appears whole or not at all.

    Args:
        index: the index.
        path: the file; it may exist, also while it is memory-mapped.

    Raises:
        InputError: the index is memory-mapped.
    """
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("wb") as file:
            write(index, file.write)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write(index: VectorIndex, sink: Callable[[bytes], Any]) -> str:
    """Hand the bytes of an index over, piece by piece.

    Args:
        index: the index.
        sink: takes each piece.

    Returns:
        The index's digest, hexadecimal.

    Raises:
        InputError: the index is memory-mapped.
    """
    if index.read_only:
        raise InputError("The index is memory-mapped from a file and is not written again; copy that file.")
    body_digest, body_bytes = hashlib.sha256(), 0

    def pass_on(piece: Any) -> None:
        nonlocal body_bytes
        content = bytes(piece)
        body_digest.update(content)
        body_bytes += len(content)
        sink(content)

    writer = faiss.PyCallbackIOWriter(pass_on, _PIECE)  # type: ignore[attr-defined]
    faiss.write_index(index.structure.index, writer)
    header = json.dumps(
        {
            "kind": index.kind,
            "metric": index.metric,
            "encoder": index.encoder,
            "rows": len(index.row_ids),
            "faiss_sha256": body_digest.hexdigest(),
        },
        sort_keys=True,
    ).encode()
    members = index.row_ids.astype(_INT64).tobytes() + index.row_labels.astype(_INT64).tobytes()
    tail = header + members + _LENGTHS.pack(body_bytes, len(header))
    digest = hashlib.sha256(tail)
    sink(tail + digest.digest())
    return digest.hexdigest()


def load(content: bytes) -> VectorIndex:
    """Read an index that `dump` or `save` wrote.

    Args:
        content: the bytes.

    Returns:
        The index.

    Raises:
        InputError: the bytes are damaged or are no such index.
    """
    whole = memoryview(content)
    where = f"The vector index ({len(content)} bytes)"
    body_bytes, tail_bytes = _lengths(bytes(whole[-_FOOTER_BYTES:]), len(content), where)
    tail = _tail(bytes(whole[body_bytes : body_bytes + tail_bytes]), where)
    body = whole[:body_bytes]
    # FAISS itself reads most damaged files without complaint, hence the digest.
    if hashlib.sha256(body).hexdigest() != tail.header.faiss_sha256:
        raise _damaged(where)
    index = _read(lambda: faiss.deserialize_index(np.frombuffer(body, dtype=np.uint8)), body_bytes, where)
    return _assemble(index, tail, where, read_only=False)


def open_mapped(path: Path) -> VectorIndex:
    """Open a file that `save` wrote without reading its vectors: a search reads what it needs.

    Inverted lists read only the lists that a query visits. The other kinds open as quickly, but read all vectors, or
    those along the way, when searched. Ids, labels and encoder are verified; the vectors are not, since that would
    read them all, so open only files from a place that verifies them.

    Args:
        path: the file, which must stay as it is while the index is in use (`save` replaces it safely).

    Returns:
        The index; vectors can be neither added nor removed.

    Raises:
        InputError: there is no such file, or its ids, labels or header are damaged or are no such index.
    """
    if not path.is_file():
        raise InputError(f"There is no vector index at {path}; build it and save it there first.")
    where = f"The vector index {path} ({path.stat().st_size} bytes)"
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _FOOTER_BYTES))
        body_bytes, tail_bytes = _lengths(file.read(), size, where)
        file.seek(body_bytes)
        tail = _tail(file.read(tail_bytes), where)
    how = faiss.IO_FLAG_MMAP if tail.header.kind == "ivf" else faiss.IO_FLAG_MMAP_IFC
    index = _read(lambda: faiss.read_index(str(path), how | faiss.IO_FLAG_READ_ONLY), body_bytes, where)
    return _assemble(index, tail, where, read_only=True)


def _read(read: Callable[[], Any], body_bytes: int, where: str) -> Any:
    """Let FAISS read, which else believes any length that a file names, up to a tebibyte."""
    with _one_reads:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(body_bytes)
        faiss.set_deserialization_loop_limit(body_bytes)
        try:
            return read()
        except (RuntimeError, MemoryError) as error:
            raise _unsound(where, error) from error
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])


def _lengths(footer: bytes, size: int, where: str) -> tuple[int, int]:
    """Bytes of FAISS's part, and of what follows it."""
    if len(footer) < _FOOTER_BYTES:
        raise _damaged(where)
    body_bytes, header_bytes = _LENGTHS.unpack(footer[: _LENGTHS.size])
    if body_bytes + header_bytes + _FOOTER_BYTES > size:
        raise _damaged(where)
    return body_bytes, size - body_bytes


class _Header(BaseModel):
    """What the JSON header says."""

    kind: Kind
    metric: Metric
    encoder: str
    rows: int = Field(ge=0)
    faiss_sha256: str


class _Tail(NamedTuple):
    """What follows FAISS's part."""

    header: _Header
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    digest: str


def _tail(tail: bytes, where: str) -> _Tail:
    """Verify what follows FAISS's part, and take the header, ids, labels and digest out of it."""
    content, digest = tail[:-_DIGEST_BYTES], tail[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise _damaged(where)
    header_bytes = _LENGTHS.unpack(content[-_LENGTHS.size :])[1]
    try:
        header = _Header.model_validate(parse_json(content[:header_bytes]))
        members = np.frombuffer(content[header_bytes : -_LENGTHS.size], dtype=_INT64).astype(np.int64)
    except ValueError as error:
        raise _unsound(where, error) from error
    if len(members) != 2 * header.rows:
        raise _unsound(where, f"{header.rows} rows, but {len(members)} ids and labels")
    return _Tail(header, members[: header.rows], members[header.rows :], digest.hex())


def _assemble(index: Any, tail: _Tail, where: str, *, read_only: bool) -> VectorIndex:
    header = tail.header
    structure = wrap(header.kind, index)
    if structure is None:
        raise InputError(
            f"{where} holds a {type(index).__name__}, but an index of the kind {header.kind} was expected; build it "
            "again."
        )
    if index.metric_type != faiss_metric(header.metric) or not structure.fits(header.rows):
        raise _unsound(where, "the parts of FAISS's index do not belong to each other or to the ids")
    return VectorIndex(
        structure,
        kind=header.kind,
        metric=header.metric,
        encoder=header.encoder,
        row_ids=tail.ids,
        row_labels=tail.labels,
        digest=tail.digest,
        read_only=read_only,
    )


def _damaged(where: str) -> InputError:
    return InputError(
        f"{where} is damaged: its SHA-256 differs from the one written with it; delete it and build it again."
    )


def _unsound(where: str, reason: object) -> InputError:
    return InputError(f"{where} cannot be read ({printable(reason)}); delete it and build it again.")
