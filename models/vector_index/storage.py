"""An index as bytes.

FAISS's own format comes first, so that FAISS reads them, too (it ignores what follows). Behind it stand a JSON header,
ids and labels as little-endian int64, the lengths of the first two parts, and a SHA-256 over all of it but FAISS's
part, whose own SHA-256 the header holds.
"""

import hashlib
import json
import struct

import faiss
import numpy as np
from pydantic import BaseModel, Field

from models.bounded_json import parse_json
from models.errors import InputError
from models.text import printable
from models.vector_index.faiss_adapter import deserialize
from models.vector_index.flat import FlatStructure
from models.vector_index.hnsw import HnswStructure
from models.vector_index.index import VectorIndex
from models.vector_index.ivf import IvfStructure
from models.vector_index.kinds import Kind, Metric, faiss_metric
from models.vector_index.structure import Structure

_STRUCTURES: dict[Kind, type[Structure]] = {"flat": FlatStructure, "hnsw": HnswStructure, "ivf": IvfStructure}
_LENGTHS = struct.Struct("<QQ")  # bytes of FAISS's part, bytes of the header
_DIGEST_BYTES = hashlib.sha256().digest_size
_FOOTER_BYTES = _LENGTHS.size + _DIGEST_BYTES
_INT64 = np.dtype("<i8")


class _Header(BaseModel):
    """What the JSON header says."""

    kind: Kind
    metric: Metric
    encoder: str
    rows: int = Field(ge=0)
    faiss_sha256: str


def dump(index: VectorIndex) -> bytes:
    """Serialise an index.

    Args:
        index: the index.

    Returns:
        The bytes, the same for the same index.
    """
    body = faiss.serialize_index(index.structure.index).data
    header = json.dumps(
        {
            "kind": index.kind,
            "metric": index.metric,
            "encoder": index.encoder,
            "rows": len(index),
            "faiss_sha256": hashlib.sha256(body).hexdigest(),
        },
        sort_keys=True,
    ).encode()
    members = index.ids.astype(_INT64).tobytes() + index.labels.astype(_INT64).tobytes()
    tail = header + members + _LENGTHS.pack(len(body), len(header))
    return b"".join([body, tail, hashlib.sha256(tail).digest()])


def load(content: bytes) -> VectorIndex:
    """Read an index that `dump` wrote.

    Args:
        content: the bytes.

    Returns:
        The index.

    Raises:
        InputError: the bytes are damaged or are no such index.
    """
    where = f"The vector index ({len(content)} bytes)"
    damaged = InputError(
        f"{where} is damaged: its SHA-256 differs from the one written with it; delete it and build it again."
    )
    if len(content) < _FOOTER_BYTES:
        raise damaged
    body_bytes, header_bytes = _LENGTHS.unpack_from(content, len(content) - _FOOTER_BYTES)
    if body_bytes + header_bytes + _FOOTER_BYTES > len(content):
        raise damaged
    whole = memoryview(content)
    body, tail = whole[:body_bytes], bytes(whole[body_bytes:-_DIGEST_BYTES])
    if hashlib.sha256(tail).digest() != whole[-_DIGEST_BYTES:]:
        raise damaged
    try:
        header = _Header.model_validate(parse_json(tail[:header_bytes]))
        members = np.frombuffer(tail[header_bytes : -_LENGTHS.size], dtype=_INT64).astype(np.int64)
        if len(members) != 2 * header.rows:
            raise ValueError(f"{header.rows} rows, but {len(members)} ids and labels")
    except ValueError as error:
        raise _unsound(where, error) from error
    # FAISS itself reads most damaged files without complaint, hence the digest.
    if hashlib.sha256(body).hexdigest() != header.faiss_sha256:
        raise damaged
    try:
        index = deserialize(body)
    except (RuntimeError, MemoryError) as error:
        raise _unsound(where, error) from error
    kind = _STRUCTURES[header.kind]
    if not isinstance(index, kind.faiss_class):
        raise InputError(
            f"{where} holds a {type(index).__name__}, but an index of the kind {header.kind} was expected; build it "
            "again."
        )
    structure, (ids, labels) = kind(index), np.split(members, 2)
    if (ids < 0).any() or index.metric_type != faiss_metric(header.metric) or not structure.fits(header.rows):
        raise _unsound(where, "the parts of FAISS's index do not belong to each other or to the ids")
    return VectorIndex(
        structure, kind=header.kind, metric=header.metric, encoder=header.encoder, ids=ids, labels=labels
    )


def _unsound(where: str, reason: object) -> InputError:
    return InputError(f"{where} cannot be read ({printable(reason)}); delete it and build it again.")
