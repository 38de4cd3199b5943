"""What may be read back as the result of a run: JSON, in which only records of this project become objects.

A file of a result names the serializer that reads it, and Prefect believes the file: `pickle` runs what it holds, and
so does Prefect's JSON, which calls any function that it names. Everything that reads a result, asks whether there is
one, or takes one out of a state goes through `ResultRecord`, in whatever storage it lies. So the guard stands there,
from the moment this module is imported, which every step does.

A result is written with its digest: the store knows its files by theirs, but one bit of a record that the disk turned
could be another metric, and look right. Results that were written before have none, and are read as they are.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import JSONSerializer, Serializer
from prefect.utilities.importtools import to_qualified_name

from models.bounded_json import parse_json
from models.text import printable
from tasks.records.base import Record

SERIALIZER = JSONSerializer()
"""What every result is written with."""
_DIGEST = "sha256"


class DamagedRecordError(ValueError):
    """A result that was not written by this project, or is damaged. It is not read."""


_serialize = ResultRecord.serialize


def serialize(record: ResultRecord[Any]) -> bytes:
    """Write a result with its metadata and the digest of both.

    Args:
        record: the result.

    Returns:
        Content of the file.
    """
    content = json.loads(_serialize(record))
    return json.dumps(content | {_DIGEST: _digest(content)}).encode()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([content["metadata"], content["result"]], sort_keys=True).encode()).hexdigest()


def deserialize(data: bytes, backup_serializer: Serializer | None = None) -> ResultRecord[Any]:
    """Read a result with its metadata, or by itself where the caller knows how it was written.

    Args:
        data: content of the file.
        backup_serializer: how a result without metadata was written; None where it must have some.

    Returns:
        The record.

    Raises:
        DamagedRecordError: the content is damaged, or names another serializer than `SERIALIZER`.
        ValueError: the file is empty, which stands for no result.
    """
    if not data:
        raise ValueError("There is no result.")
    content = _parse(data)
    if isinstance(content, dict) and content.keys() - {_DIGEST} == {"metadata", "result"}:
        if _DIGEST in content and content[_DIGEST] != _digest(content):
            raise DamagedRecordError("it does not have its digest")
        return _record(content["result"], content["metadata"])
    if backup_serializer is None or (isinstance(content, dict) and content.keys() & {"metadata", "serializer"}):
        raise DamagedRecordError("it is no result of a step")
    return ResultRecord(metadata=_metadata({"serializer": backup_serializer.model_dump()}), result=_revive(content))


def deserialize_from_result_and_metadata(result: bytes, metadata: bytes) -> ResultRecord[Any]:
    """Read a result whose metadata lie in a file of their own.

    Args:
        result: content of the one file.
        metadata: content of the other.

    Returns:
        The record.

    Raises:
        DamagedRecordError: as in `deserialize`.
    """
    return _record(result, _parse(metadata))


def _record(result: Any, metadata: Any) -> ResultRecord[Any]:
    described = _metadata(metadata)
    if not isinstance(result, str | bytes):
        raise DamagedRecordError("its result is no text")
    return ResultRecord(metadata=described, result=_revive(_parse(result)))


def _metadata(content: Any) -> ResultRecordMetadata:
    # Compared before Prefect sees it, which would import the modules that it names.
    if not isinstance(content, dict) or content.get("serializer") != SERIALIZER.model_dump():
        named = content.get("serializer") if isinstance(content, dict) else None
        kind = named.get("type") if isinstance(named, dict) else named
        raise DamagedRecordError(
            f"it names the serializer {printable(kind, 30)} or settings that are not this project's"
        )
    try:
        return ResultRecordMetadata.model_validate(content)
    except ValueError as error:
        raise DamagedRecordError("its metadata are damaged") from error


def _parse(content: bytes | str) -> Any:
    try:
        return parse_json(content)
    except ValueError as error:
        raise DamagedRecordError(printable(error)) from error


def _revive(value: Any) -> Any:
    """Turn what names the class of a record into that record, at any depth."""
    if isinstance(value, list):
        return [_revive(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "__class__" not in value and "__exc_type__" not in value:
        return {name: _revive(item) for name, item in value.items()}
    named = value.get("__class__", value.get("__exc_type__"))
    record = next((kind for kind in _kinds(Record) if to_qualified_name(kind) == named), None)
    if record is None:
        raise DamagedRecordError(f"it names {printable(named)}, which is no record of this project")
    try:
        return record.model_validate(value.get("data"))
    except ValueError as error:
        raise DamagedRecordError(f"what it holds is no {record.__name__}") from error


def _kinds(kind: type[Record]) -> Iterator[type[Record]]:
    """Yield all kinds of records that are loaded: none is imported because a file names it."""
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


ResultRecord.serialize = serialize  # type: ignore[method-assign, assignment]
ResultRecord.deserialize = staticmethod(deserialize)  # type: ignore[method-assign]
ResultRecord.deserialize_from_result_and_metadata = staticmethod(  # type: ignore[method-assign]
    deserialize_from_result_and_metadata
)
