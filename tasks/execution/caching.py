"""Steps: Prefect tasks whose results are kept and re-used. The only place that makes cache keys.

A key is made of the step's name, the fingerprint of the code that it reaches, the versions of the libraries this code
imports, the shape of its result, and its arguments: records by their identity, parameters by their values. A hit counts
only if every file that the cached record names still has its digest; else the step runs again.

Every step notes in the store's ledger how it ended (hit or run), why, and how long it took, so that a flow can tell.
"""

import contextlib
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.results import ResultStore, get_result_store
from prefect.transactions import IsolationLevel, get_transaction
from pydantic import BaseModel, TypeAdapter

from models.errors import DiskError, keep_printable
from models.text import printable
from tasks.execution import imports
from tasks.execution.fingerprint import fingerprint
from tasks.execution.locks import ProcessLocks
from tasks.execution.plain_words import in_plain_words
from tasks.execution.result_records import SERIALIZER, DamagedRecordError
from tasks.execution.termination import end_if_asked
from tasks.records.base import Record, Reference
from tasks.storage.store import Store

P = ParamSpec("P")
R = TypeVar("R")

_REMEMBERED = 16  # earlier runs of a step that a new one is compared with
_reason: ContextVar[tuple[str, str, str]] = ContextVar("reason", default=("", "", ""))
"""Id of the task run of this thread whose key was made last, the key, and why it hits or runs: for its outcome."""


class Outcome(NamedTuple):
    """How a step ended.

    Attributes:
        step: its name.
        hit: whether a stored result was used.
        why: what changed, or that nothing did.
        seconds: wall time.
        started: Unix time.
        key: of the result that was used or made; empty where it is not known.
    """

    step: str
    hit: bool
    why: str
    seconds: float
    started: float
    key: str = ""


def step(function: Callable[P, R]) -> Task[P, R]:
    """Make a function of records and parameters into a caching Prefect task.

    Args:
        function: takes records, parameter models and JSON values, and returns one record. Arguments of
            type `Reference` say where to log and do not count.

    Returns:
        The task, named after the function.
    """
    made = task(
        name=_step_name(function),
        cache_policy=ContentPolicy(function),
        persist_result=True,
        result_serializer=SERIALIZER,
        cache_result_in_memory=False,  # a result in memory would hide that its file is gone
        on_completion=[note_outcome],
    )(_printable_errors(in_plain_words(function)))
    # The task has taken the function's name. Where it is found now is what another process needs to import it.
    made.fn.__qualname__ += ".fn"
    return made


def _printable_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Keep the messages of errors printable: they become those of the states of the task run and of the flow run."""

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        end_if_asked()
        try:
            imports.load(inspect.unwrap(function))
            return function(*arguments, **named)
        except Exception as error:
            keep_printable(error)
            raise

    return call


def components(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Collect what a step's answer depends on.

    Args:
        function: the step's function.
        arguments: its arguments by name.

    Returns:
        `code` and `libraries` (see `tasks.execution.fingerprint`), `inputs` (identity of each record), `configuration`
        (every other value) and `result` (digest of the result's JSON schema).
    """
    found = fingerprint(function)
    inputs: dict[str, Any] = {}
    configuration: dict[str, Any] = {}
    for name, value in sorted(arguments.items()):
        if isinstance(value, Reference):
            continue
        if isinstance(value, Record):
            inputs[name] = value.content_digest()
        elif isinstance(value, list | tuple) and value and all(isinstance(item, Record) for item in value):
            inputs[name] = [item.content_digest() for item in value]
        elif isinstance(value, BaseModel):
            configuration |= {f"{name}.{field}": item for field, item in value.model_dump(mode="json").items()}
        else:
            configuration[name] = TypeAdapter(Any).dump_python(value, mode="json")
    schema = json.dumps(TypeAdapter(function.__annotations__["return"]).json_schema(), sort_keys=True)
    return {
        "code": dict(found.code),
        "libraries": dict(found.libraries),
        "inputs": inputs,
        "configuration": configuration,
        "result": {"schema": hashlib.sha256(schema.encode()).hexdigest()[:16]},
    }


def cache_key(function: Callable[..., Any], parts: Mapping[str, Any]) -> str:
    """Make the cache key of a step: its name and a digest of all its answer depends on.

    Args:
        function: the step's function.
        parts: what `components` collected for it.

    Returns:
        A key such as `train-classifier/5f0c…`, which is also the path of the result.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{_step_name(function)}/{digest}"


def is_kept(step: Task[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Tell, within a flow, whether a step's result is kept. It is not read: only running the step tells if it is whole.

    Args:
        step: the step.
        arguments: all its arguments, by name.
    """
    results: Any = get_result_store()  # of the flow, which looks elsewhere than its tasks
    return bool(results.update_for_task(step, _sync=True).exists(cache_key(step.fn, components(step.fn, arguments))))


def current_key() -> str:
    """Return the cache key of the step that is running.

    It names the checkpoints of a step that keeps some, so that only the same job ever continues them.

    Raises:
        RuntimeError: outside a running step.
    """
    transaction = get_transaction()
    if transaction is None or transaction.key is None:
        raise RuntimeError("current_key() was called outside a running step.")
    return str(transaction.key)


def outcomes(flow_run_ids: Iterable[str]) -> list[Outcome]:
    """Read from the ledger how the steps of some flow runs ended, in the order in which they started."""
    store = Store()
    names = [name for flow_run_id in flow_run_ids for name in store.list(f"ledger/{flow_run_id}")]
    found = (store.read_note(name, Outcome) for name in names)
    return sorted((outcome for outcome in found if outcome is not None), key=lambda outcome: outcome.started)


def last_uses() -> dict[str, float]:
    """Read from the ledger when each result was used or made last: Unix time by key."""
    store, uses = Store(), dict[str, float]()
    for folder in store.list("ledger"):
        for outcome in outcomes([folder.rpartition("/")[2]]):
            uses[outcome.key] = max(uses.get(outcome.key, 0), outcome.started + outcome.seconds)
    return uses


class ContentPolicy(CachePolicy):
    """Cache policy of one step.

    Args:
        function: the step's function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=ProcessLocks())
        self.function = function

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """Make the key; drop a record whose files are damaged; remember why the step will hit or run."""
        parts = components(self.function, inputs)
        key = cache_key(self.function, parts)
        kind = self.function.__annotations__["return"]
        _reason.set((str(task_ctx.task_run.id), key, _explain(get_result_store(), key, parts, kind)))
        return key


def _explain(results: ResultStore, key: str, parts: dict[str, dict[str, Any]], kind: type[Record]) -> str:
    """Say why a step will hit or run, dropping a cached record whose files are damaged.

    What cannot be read at the moment says nothing of what is stored: it stays, and the engine reads it itself.
    """
    store = Store()
    try:
        result = results.read(key).result
        if not isinstance(result, kind):
            _drop(results, key)
            return f"stored result is no {kind.__name__}"
        damaged = _damaged_file(result, store)
    except DamagedRecordError as error:
        return f"stored result is damaged: {error}"
    except (OSError, MemoryError) as error:
        return f"stored result could not be checked: {printable(error) or type(error).__name__}"
    except Exception:  # Prefect's storages have no error of their own for what is not there
        return _changes(store, key, parts)
    if damaged is None:
        return "same code, configuration and inputs"
    _drop(results, key)
    return f"stored file missing or damaged: {damaged}"


def _changes(store: Store, key: str, parts: dict[str, dict[str, Any]]) -> str:
    """Say what a step without a result has that its latest runs had not, and note it for later ones.

    The latest runs of a step are one file. Of two runs at the same moment one may go unnoted, which costs a reason.
    """
    name = f"keys/{key.split('/')[0]}.json"
    earlier = store.read_note(name, list[dict[str, dict[str, Any]]]) or []
    latest = [parts, *(other for other in earlier if other != parts)][:_REMEMBERED]
    with contextlib.suppress(OSError, DiskError):  # else the step would run without a key, and its result not be kept
        store.write(name, json.dumps(latest, sort_keys=True).encode())
    if parts in earlier:
        return "no result of an earlier run is stored"
    if not earlier:
        return "first run"
    return "changed: " + ", ".join(min((_differences(parts, other) for other in earlier), key=len)[:4])


def _damaged_file(result: Record, store: Store) -> str | None:
    """Name the first damaged file of a cached result; None where all are intact."""
    return next((printable(file.uri) for file in result.stored_files() if not store.intact(file)), None)


def _drop(results: ResultStore, key: str) -> None:
    """Empty a result record: Prefect's storage interface cannot delete, and takes an empty record for none."""
    storage: Any = results.result_storage
    storage.write_path(key, content=b"")


def _step_name(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", "-")


def _differences(parts: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> list[str]:
    found = []
    for group, values in parts.items():
        before = other.get(group, {})
        for name in sorted(values.keys() | before.keys()):
            old, new = before.get(name), values.get(name)
            if old != new:
                shown = f"{name} {old} → {new}" if group in {"configuration", "libraries"} else f"{group} {name}"
                found.append(shown)
    return found


def note_outcome(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> None:
    """Write to the ledger how a step ended (a Prefect completion hook)."""
    started = task_run.start_time or state.timestamp
    of, key, why = _reason.get()
    known = of == str(task_run.id)
    outcome = Outcome(
        step=task.name,
        hit=state.name == "Cached",
        why=why if known else "",
        seconds=max((state.timestamp - started).total_seconds(), 0.0),
        started=started.timestamp(),
        key=key if known else "",
    )
    Store().write(f"ledger/{task_run.flow_run_id}/{task_run.id}.json", json.dumps(outcome._asdict()).encode())
    ended = "hit" if outcome.hit else "run"  # the UI's page of a flow run does not name the task behind a line
    get_run_logger().info("%s %s, %.1f s: %s", outcome.step, ended, outcome.seconds, outcome.why)
