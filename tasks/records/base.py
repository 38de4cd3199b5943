"""Records that pass between tasks: small, frozen, JSON. Tensors and arrays stay in the store.

A record says what something is, where it lies, its digest, its shape and which MLflow run made it. Fields marked with
`provenance` (paths, times, run ids) tell where a thing came from; they are not part of its identity, so that the same
content made again, elsewhere or later, is the same input to the next step.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


def provenance(default: Any) -> Any:
    """Declare a field that is not part of a record's identity."""
    return Field(default=default, json_schema_extra={"provenance": True})


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def content_digest(self) -> str:
        """Return the SHA-256 of the record without its provenance."""
        return hashlib.sha256(json.dumps(_identity(self), sort_keys=True).encode()).hexdigest()

    def stored_files(self) -> Iterator["StoredFile"]:
        """Yield every stored file that the record holds, at any depth."""
        for value in self.__dict__.values():
            yield from _stored_files(value)


class StoredFile(Record):
    """A file in the store, named by its content.

    Attributes:
        uri: path below the root of the store, so that the store can be moved.
        sha256: digest of the content.
        size: bytes.
        media_type: MIME type.
    """

    uri: str
    sha256: str
    size: int
    media_type: str


class Reference(Record):
    """Where a step says what it does. Never part of a cache key."""


class RunReference(Reference):
    """The MLflow run that a step logs to.

    Attributes:
        run_id: MLflow run id.
    """

    run_id: str


class Point(NamedTuple):
    """A point of a curve that a tracker shows.

    Attributes:
        name: of the metric.
        value: its value.
        step: where on the curve, an epoch for instance.
        moment: when, in milliseconds since 1970.
    """

    name: str
    value: float
    step: int
    moment: int


class ProgressReference(Reference):
    """The progress artifacts that steps move.

    Attributes:
        artifacts: ids of the Prefect artifacts.
        description: what is done.
        total: units of work.
    """

    artifacts: tuple[str, ...]
    description: str
    total: int


class FindingsRecord(Record):
    """What an analysis found, ready to be shown.

    Attributes:
        name: of the analysis, `trust` for instance.
        metrics: figures for the tracker.
        findings: JSON of everything that was found.
        figures: PNG by name.
        sections: parts of the stage's report, title and markdown of each.
        files: other files, by the path at which the run has them.
    """

    name: str
    metrics: dict[str, float]
    findings: StoredFile
    figures: dict[str, StoredFile]
    sections: tuple[tuple[str, str], ...]
    files: dict[str, StoredFile] = Field(default_factory=dict)


class ArrayRecord(Record):
    """Arrays in one npz.

    Attributes:
        arrays: the npz.
        shapes: shape by name.
    """

    arrays: StoredFile
    shapes: dict[str, tuple[int, ...]]


class FiguresRecord(Record):
    """Figures of a stage.

    Attributes:
        figures: PNG by name.
    """

    figures: dict[str, StoredFile]


class DocumentRecord(Record):
    """A markdown report of a stage.

    Attributes:
        document: the markdown.
    """

    document: StoredFile


def _identity(value: Any) -> Any:
    if isinstance(value, StoredFile):
        return [value.sha256, value.media_type]
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: _identity(getattr(value, name))
            for name, field in fields.items()
            if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("provenance"))
        }
    if isinstance(value, dict):
        return {str(key): _identity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(item) for item in value]
    return value


def _stored_files(value: Any) -> Iterator[StoredFile]:
    if isinstance(value, StoredFile):
        yield value
    elif isinstance(value, Record):
        yield from value.stored_files()
    elif isinstance(value, dict):
        for item in value.values():
            yield from _stored_files(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _stored_files(item)
