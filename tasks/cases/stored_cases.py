"""The list of cases that the steps hand on, one JSON file of the store."""

from collections.abc import Sequence

from pydantic import TypeAdapter

from tasks.cases.case import Case
from tasks.records.cases import JudgedRecord
from tasks.storage.store import Store

CASES: TypeAdapter[Sequence[Case]] = TypeAdapter(list[Case])


def load_cases(store: Store, judged: JudgedRecord) -> list[Case]:
    """Read cases."""
    return list(CASES.validate_python(store.get_json(judged.cases)))


def store_cases(store: Store, cases: Sequence[Case]) -> JudgedRecord:
    """Keep cases."""
    return JudgedRecord(cases=store.put_json(CASES.dump_python(cases, mode="json")), count=len(cases))
