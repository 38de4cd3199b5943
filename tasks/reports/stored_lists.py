"""The lists that the steps of the reports hand on, each one JSON file of the store."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from models.report_generation.generator import Row, Written
from models.report_generation.schema import Answer, Case
from tasks.records.base import StoredFile
from tasks.reports.audit.reference_file import Reference
from tasks.storage.store import Store

Item = TypeVar("Item")


class StoredList(Generic[Item]):
    """A list of one type, as it lies in the store."""

    def __init__(self, item: type[Item]) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(tuple[item, ...])  # type: ignore[valid-type]

    def load(self, store: Store, file: StoredFile) -> tuple[Item, ...]:
        """Read a list."""
        return tuple(self._adapter.validate_python(store.get_json(file)))

    def save(self, store: Store, items: Iterable[Item]) -> StoredFile:
        """Keep a list."""
        return store.put_json(self._adapter.dump_python(tuple(items), mode="json"))


CASES, ROWS, WRITTEN, ANSWERS = StoredList(Case), StoredList(Row), StoredList(Written), StoredList(Answer)
REFERENCES = StoredList(Reference)
