"""Progress of long work done by several tasks: an artifact on the run's page and a bar in the terminal."""

import contextlib
import threading
from collections.abc import Iterator
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectHTTPStatusError
from tqdm import tqdm

from tasks.records.base import ProgressReference

_guard = threading.Lock()
_bars: dict[str, tqdm] = {}


@contextlib.contextmanager
def shown(key: str, description: str, total: int) -> Iterator[ProgressReference]:
    """Show how far work is that is done within the block. At its end all is done, now or earlier.

    Args:
        key: key of the artifact, such as `reports-progress`.
        description: what is done, in a few words.
        total: units of work.

    Yields:
        What tasks need to move it.
    """
    artifact_id = str(create_progress_artifact(0.0, key=key, description=f"{description}: 0 of {total}"))
    progress = ProgressReference(artifact_id=artifact_id, description=description, total=total)
    with tqdm(total=total, desc=description, disable=None, leave=False) as bar:
        _bars[artifact_id] = bar
        try:
            yield progress
            with _guard:
                _move(progress, bar, total)
        finally:
            with _guard:
                del _bars[artifact_id]


def advance(progress: ProgressReference, units: int) -> None:
    """Show that some more units are done; harmless in a process that did not begin the work."""
    with _guard:
        bar = _bars.get(progress.artifact_id)
        if bar is not None and units:
            _move(progress, bar, bar.n + units)


def _move(progress: ProgressReference, bar: tqdm, done: int) -> None:
    bar.n = done
    bar.refresh()
    share = 100.0 * done / progress.total if progress.total else 100.0
    with contextlib.suppress(PrefectHTTPStatusError, httpx.TransportError):  # what is shown must not end what is done
        update_progress_artifact(
            UUID(progress.artifact_id), share, f"{progress.description}: {done} of {progress.total}"
        )
