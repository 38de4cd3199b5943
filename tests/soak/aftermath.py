"""What runs have left in a folder of products: in store, results, both trackers, locks and temporary files."""

import fcntl
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_OF_THE_MACHINE = ("system/", "seconds", "per_second", "memory")
"""Metrics that say how fast a machine was, by what their names hold."""
_OF_THE_PAST = ("sweep/run", "sweep/kept")
"""Metrics that say how much an earlier run had done."""
_OF_PYTHON = "pymp-"
"""Begin of the folders in which Python's fork server has its socket; empty, and of no use once it has ended."""
_NAME_THEIR_RUN = {"show-index"}
"""Steps whose results link to the run that made them, so that each run makes its own."""
_ROWS_ARE_KEPT = {"judge-pictures"}
"""Steps that no run does again once what they found is kept row by row, be it that their result was still missing."""


@dataclass(frozen=True)
class Aftermath:
    """What was left.

    Attributes:
        results: digest of each result's content, by its key.
        finished: of each experiment, how many runs of MLflow are finished.
        last_runs: of each experiment and parameters of a run, what the one that finished last has: metrics, files,
            number of traces.
        wrong: what must not be there, in words.
    """

    results: dict[str, str]
    finished: dict[str, int]
    last_runs: dict[tuple[str, str], tuple[dict[str, float], list[str], int]]
    wrong: list[str]


def look(outputs: Path, temporary: Path) -> Aftermath:
    """Look at what runs have left, once nothing runs any more."""
    finished, last_runs, wrong = _tracking(outputs)
    wrong += [*_orchestration(outputs), *_files(outputs, temporary), *_locks(outputs)]
    return Aftermath(_results(outputs), finished, last_runs, wrong)


def losses(right: Aftermath, found: Aftermath) -> list[str]:
    """Say what differs from what an undisturbed run leaves."""
    lost = list(found.wrong)
    one, other = right.results, found.results
    needed = {key for key in one if key in other or key.partition("/")[0] not in _ROWS_ARE_KEPT}
    different = (key for key in sorted(needed | other.keys()) if one.get(key) != other.get(key))
    lost += [f"result {key[:40]}: {other.get(key)} instead of {one.get(key)}" for key in different]
    for run, expected in right.last_runs.items():
        name = f"{' '.join(run)[:80]}"
        if run not in found.last_runs:
            lost.append(f"no finished run {name}")
            continue
        for what, one, other in zip(("metrics", "files", "traces"), expected, found.last_runs[run], strict=True):
            if one != other:
                lost.append(f"{what} of {name}: {_difference(one, other)}")
    return lost


def computed(outputs: Path) -> Counter[str]:
    """Count how often each result was computed, by its key: once, where nothing was damaged."""
    found: Counter[str] = Counter()
    for file in (outputs / "store" / "ledger").glob("*/*.json"):
        outcome = json.loads(file.read_bytes())
        if not outcome["hit"] and outcome["key"]:  # without one, a step is done each time
            found[outcome["key"]] += 1
    return found


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, int):
        return f"{other} instead of {one}"
    first, second = (set(each.items() if isinstance(each, dict) else each) for each in (one, other))
    return f"missing or other {sorted(first - second)[:4]}, new {sorted(second - first)[:4]}"


def _results(outputs: Path) -> dict[str, str]:
    import flows.cases
    import flows.pipeline
    import flows.sweep  # noqa: F401 - only records that are loaded can be read
    from tasks.execution.result_records import deserialize

    found = {}
    for file in sorted((outputs / "results").glob("*/*")):
        if file.parent.name in _NAME_THEIR_RUN:
            continue
        content = file.read_bytes()
        key = f"{file.parent.name}/{file.name}"
        try:
            found[key] = _without_times(deserialize(content).result).content_digest()[:16]
        except Exception as error:
            found[key] = f"damaged ({str(error)[:80]})"
    return found


def _without_times(record: Any) -> Any:
    """Leave the metrics out of a record that another run need not have."""
    metrics = getattr(record, "metrics", None)
    return record.model_copy(update={"metrics": _steady(metrics)}) if isinstance(metrics, dict) else record


def _steady(metrics: dict[str, float]) -> dict[str, float]:
    other = (*_OF_THE_MACHINE, *_OF_THE_PAST)
    return {name: value for name, value in metrics.items() if not any(word in name for word in other)}


def _tracking(
    outputs: Path,
) -> tuple[dict[str, int], dict[tuple[str, str], tuple[dict[str, float], list[str], int]], list[str]]:
    database = outputs / "mlflow.db"
    if not database.exists():
        return {}, {}, ["there is no MLflow database"]
    with closing(sqlite3.connect(database)) as connection:
        ask = connection.execute
        wrong = [f"MLflow's database: {word}" for (word,) in ask("PRAGMA integrity_check") if word != "ok"]
        named = dict(ask("SELECT experiment_id, name FROM experiments"))
        runs = list(
            ask(
                "SELECT run_uuid, experiment_id, status, artifact_uri FROM runs "
                "WHERE lifecycle_stage = 'active' ORDER BY start_time"
            )
        )
        wrong += [f"MLflow run {run} is {status}" for run, _, status, _ in runs if status in ("RUNNING", "SCHEDULED")]
        doubled = ask(
            "SELECT run_uuid, key, step, COUNT(*) FROM metrics WHERE key NOT LIKE 'system/%' "
            "GROUP BY run_uuid, key, step HAVING COUNT(*) > 1"
        )
        wrong += [f"metric {key} of {run} is there {count} times at {step}" for run, key, step, count in doubled]
        traces = list(
            ask(
                "SELECT m.value, i.client_request_id FROM trace_info i JOIN trace_request_metadata m "
                "ON m.request_id = i.request_id WHERE m.key = 'mlflow.sourceRun'"
            )
        )
        wrong += [f"trace {name} of {run} is there {n} times" for (run, name), n in Counter(traces).items() if n > 1]
        finished = Counter(named[experiment] for _, experiment, status, _ in runs if status == "FINISHED")
        last_runs = {}
        for run, experiment, status, place in runs:
            if status == "FINISHED":
                metrics = _steady(dict(ask("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", [run])))
                folder = Path(place.removeprefix("file://").replace("mlflow-artifacts:", f"{outputs}/mlartifacts"))
                files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
                asked = sorted(ask("SELECT key, value FROM params WHERE run_uuid = ?", [run]))
                last_runs[named[experiment], json.dumps(asked)] = (
                    metrics,
                    files,
                    sum(owner == run for owner, _ in traces),
                )
    return dict(finished), last_runs, wrong


def _orchestration(outputs: Path) -> Iterator[str]:
    database = outputs / "prefect" / "prefect.db"
    if not database.exists():
        yield "there is no Prefect database"
        return
    with closing(sqlite3.connect(database)) as connection:
        for (word,) in connection.execute("PRAGMA integrity_check"):
            if word != "ok":
                yield f"Prefect's database: {word}"
        for table in ("flow_run", "task_run"):
            for name, state in connection.execute(f"SELECT name, state_type FROM {table}"):
                if state not in _FINAL:
                    yield f"{table} {name[:30]} of Prefect is {state}"
        shown = connection.execute(
            "SELECT a.description, a.data FROM artifact a JOIN flow_run f ON f.id = a.flow_run_id "
            "WHERE a.type = 'progress' AND f.state_type = 'COMPLETED'"
        )
        for description, share in shown:
            if float(share) != 100:
                yield f"progress of a run that is over is shown as {share} %: {description}"
        for name, slots in connection.execute("SELECT name, active_slots FROM concurrency_limit_v2"):
            if slots:
                yield f"{slots} slots of {name} are taken"


def _files(outputs: Path, temporary: Path) -> Iterator[str]:
    for file in outputs.rglob("*.tmp"):
        yield f"temporary file {file.relative_to(outputs)}"
    for file in temporary.rglob("*"):
        if file.is_file() or (file.is_socket() and not file.parent.name.startswith(_OF_PYTHON)):
            yield f"temporary file {file.relative_to(temporary.parent)}"
    summary = outputs / "summary.json"
    if summary.exists():
        try:
            json.loads(summary.read_bytes())
        except ValueError:
            yield "summary.json is damaged"


def _locks(outputs: Path) -> Iterator[str]:
    for file in (outputs / "locks").rglob("*"):
        if file.is_file():
            with file.open("rb") as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    yield f"lock {file.name} is held"
