"""A worker of `make up`: `prefect worker`, which outlasts its server and says once, not at each poll, that a run waits.

A run that waits for room in the limit of its deployment is tried every few seconds, and Prefect writes each time into
the log of the run that it is submitted and that this was aborted, until little else is left to read there.
"""

import functools
import logging
import re
import runpy
import sys
from collections import OrderedDict

LOGGER = "prefect.flow_runs.worker"
_TRIED = re.compile(r"(Worker '.*' submitting|Aborted submission of) flow run '")
_FAILURES = 100_000
"""One after the other; at one every three seconds more than three days."""
REMEMBERED = 1000
"""Messages: more runs do not wait at once, and a worker runs for months."""


class SaidOnce(logging.Filter):
    """Lets a record about an attempt to submit a run through where it says what none said before, and all others."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._said: OrderedDict[str, None] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be logged."""
        message = record.getMessage()
        if not _TRIED.match(message):
            return True
        new = message not in self._said
        self._said[message] = None
        self._said.move_to_end(message)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return new


def outlast_the_server() -> None:
    """Let this worker go on asking a server that is away, for runs to start and for runs to cancel.

    Prefect's own gives up after two minutes: it ends, or lives on and never again hears that a run is to be cancelled.
    """
    from prefect._internal import observers
    from prefect.workers import base

    for module in (observers, base):
        patient = functools.partial(module.critical_service_loop, consecutive=_FAILURES)
        module.critical_service_loop = patient  # type: ignore[attr-defined]


if __name__ == "__main__":
    outlast_the_server()
    logging.getLogger(LOGGER).addFilter(SaidOnce())
    sys.argv[:1] = ["prefect", "worker"]
    runpy.run_module("prefect", run_name="__main__")
