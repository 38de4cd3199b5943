"""Progress of long work done by several tasks: an artifact on the run's page and a bar in the terminal."""

import contextlib
import threading
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectHTTPStatusError
from tqdm import tqdm

from tasks.records.base import ProgressReference

_guard = threading.Lock()
_bars: dict[str, tqdm] = {}


def begin(key: str, description: str, total: int) -> ProgressReference:
    """Show work that has not begun.

    Args:
        key: key of the artifact, such as `reports-progress`.
        description: what is done, in a few words.
        total: units of work.

    Returns:
        What tasks need to move it.
    """
    artifact_id = str(create_progress_artifact(0.0, key=key, description=f"{description}: 0 of {total}"))
    _bars[artifact_id] = tqdm(total=total, desc=description, disable=None, leave=False)
    return ProgressReference(artifact_id=artifact_id, description=description, total=total)


def advance(progress: ProgressReference, units: int) -> None:
    """Show that some more units are done; harmless in a process that did not begin the work."""
    with _guard:
        bar = _bars.get(progress.artifact_id)
        if bar is not None and units:
            _move(progress, bar, bar.n + units)


def end(progress: ProgressReference) -> None:
    """Show that all is done, whether it was done now or earlier."""
    with _guard:
        bar = _bars.pop(progress.artifact_id)
        _move(progress, bar, progress.total)
        bar.close()


def _move(progress: ProgressReference, bar: tqdm, done: int) -> None:
    bar.n = done
    bar.refresh()
    share = 100.0 * done / progress.total if progress.total else 100.0
    with contextlib.suppress(PrefectHTTPStatusError, httpx.TransportError):  # what is shown must not end what is done
        update_progress_artifact(
            UUID(progress.artifact_id), share, f"{progress.description}: {done} of {progress.total}"
        )
