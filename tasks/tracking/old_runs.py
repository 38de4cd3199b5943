"""Runs that nobody needs any more: what MLflow keeps for ever is found by age, and removed with its files.

A run leaves with its kin only, a pipeline with its stages: while one of them is young, under way, the origin of a
registered version or named by what is published, all stay.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from models.errors import InputError
from models.text import printable
from tasks.storage.locations import tracking_uri
from tasks.tracking.runs import new_client

_AT_ONCE = 200


def old_runs(days: float, named: Iterable[str], now: float | None = None) -> list[str]:
    """Find the runs that can be removed; nothing is changed.

    Args:
        days: since they have ended.
        named: texts of what is published; a run whose id one of them holds stays.
        now: Unix time that counts as now; None takes the clock.

    Returns:
        Their ids.

    Raises:
        InputError: the tracker is not the database in the folder of products, whose files this process can remove.
    """
    if not tracking_uri().startswith("sqlite:///"):
        raise InputError(
            "Runs of MLflow are removed where its database is a file in OUTPUTS: on a server, `mlflow gc`."
        )
    client, texts = new_client(), list(named)
    latest = ((time.time() if now is None else now) - days * 86_400) * 1000
    needed = {version.run_id for version in client.search_model_versions()}
    runs = {run.info.run_id: run for run in _all(client)}
    families: dict[str, list[str]] = {}
    for run_id in runs:
        families.setdefault(_root(runs, run_id), []).append(run_id)
    return [
        run_id
        for family in families.values()
        if all(
            (runs[member].info.end_time or float("inf")) < latest
            and member not in needed
            and not any(member in text for text in texts)
            for member in family
        )
        for run_id in family
    ]


def remove_runs(run_ids: Sequence[str]) -> None:
    """Remove runs for good, with their metrics and files.

    Raises:
        InputError: MLflow refuses.
    """
    client = new_client()
    for start in range(0, len(run_ids), _AT_ONCE):
        some = run_ids[start : start + _AT_ONCE]
        for run_id in some:
            client.delete_run(run_id)
        places = ["--tracking-uri", tracking_uri(), "--backend-store-uri", tracking_uri()]
        command = [sys.executable, "-m", "mlflow", "gc", *places, "--run-ids"]
        done = subprocess.run([*command, ",".join(some)], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            raise InputError(
                f"`mlflow gc` failed ({printable(last)}): the runs are deleted, and their files are there."
            )


def _all(client: Any) -> list[Any]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found, token = [], None
    while True:
        page = client.search_runs(experiments, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _root(runs: dict[str, Any], run_id: str) -> str:
    """Follow the parents of a run to the first."""
    seen = {run_id}
    while (parent := runs[run_id].data.tags.get("mlflow.parentRunId")) in runs and parent not in seen:
        seen.add(parent)
        run_id = parent
    return run_id
