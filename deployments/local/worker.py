"""A worker of `make up`: `prefect worker`, which says once, and not at each poll, that a run of its has to wait.

A run that waits for room in the limit of its deployment is tried every few seconds, and Prefect writes each time into
the log of the run that its submission was aborted, until little else is left to read there.
"""

import logging
import re
import runpy
import sys

LOGGER = "prefect.flow_runs.worker"
_ABORTED = re.compile(r"Aborted submission of flow run '(?P<run>[^']+)'")


class SaidOnce(logging.Filter):
    """Lets the first record about the aborted submission of a run through, and all others always."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be logged."""
        found = _ABORTED.match(record.getMessage())
        if found is None:
            return True
        new = found["run"] not in self._said
        self._said.add(found["run"])
        return new


if __name__ == "__main__":
    logging.getLogger(LOGGER).addFilter(SaidOnce())
    sys.argv[:1] = ["prefect", "worker"]
    runpy.run_module("prefect", run_name="__main__")
