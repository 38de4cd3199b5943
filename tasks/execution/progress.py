"""Progress of long work done by several tasks: an artifact on the run's page and a bar in the terminal."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tqdm import tqdm

from tasks.execution.artifacts import create_artifact, update_artifact
from tasks.execution.termination import end_if_asked
from tasks.records.base import ProgressReference

_guard = threading.Lock()
_under_way: dict[ProgressReference, "_Work"] = {}


@dataclass
class _Work:
    bar: tqdm
    done: int = 0
    note: str = ""


@contextlib.contextmanager
def shown(description: str, total: int) -> Iterator[ProgressReference]:
    """Show how far work is that is done within the block. At its end all is done, now or earlier.

    It is shown on the page of the flow run and of the run that this one is a part of.

    Args:
        description: what is done, in a few words.
        total: units of work.

    Yields:
        What tasks need to move it.
    """
    artifacts = create_artifact("progress", 0.0, _told(description, 0, total), also_on_parent=True)
    progress = ProgressReference(artifacts=artifacts, description=description, total=total)
    with tqdm(total=total, desc=description, disable=None, leave=False) as bar:
        work = _under_way[progress] = _Work(bar)
        try:
            yield progress
            with _guard:
                _move(progress, work, total)
        finally:
            with _guard:
                del _under_way[progress]


def advance(progress: ProgressReference, units: int, note: str = "") -> None:
    """Show that some more units are done; harmless in a process that did not begin the work.

    Work that was asked to end, and did not hear of it, ends here.

    Args:
        progress: what `shown` gave.
        units: how many more.
        note: what else there is to say of them.
    """
    end_if_asked()
    with _guard:
        work = _under_way.get(progress)
        if work is not None and units:
            work.note = note
            _move(progress, work, work.done + units)


def _move(progress: ProgressReference, work: _Work, done: int) -> None:
    work.done = work.bar.n = done
    work.bar.set_postfix_str(work.note)
    share = 100.0 * done / progress.total if progress.total else 100.0
    update_artifact(progress.artifacts, share, _told(progress.description, done, progress.total, work.note))


def _told(description: str, done: int, total: int, note: str = "") -> str:
    return f"{description}: {done} of {total}" + (f", {note}" if note else "")
