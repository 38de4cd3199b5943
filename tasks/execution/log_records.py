"""Records of the log, which goes to the terminal, to files and to the server's pages.

What libraries say of a file quotes the file, in messages and in tracebacks, and a terminal obeys escape sequences
wherever they come from. So control characters are written out in the record itself, whatever logger and handler it
passes. Left out is the login by which a client opens a web socket: Prefect's server quotes it where it expects none.

And what Prefect logs of a step beside the line that says how it ended is left out.
"""

import logging
import re
from typing import Any

from models.text import visible

_TOKEN = re.compile(r"""(?<=['"]token['"]: ['"])[^'"]*""")


class PrintableRecord(logging.LogRecord):
    """A record whose message and traceback hold no control characters but line breaks and tabs."""

    def getMessage(self) -> str:  # noqa: N802  # the name that `logging` gave it
        """Return the message with its arguments."""
        return _fit_for_a_log(super().getMessage())

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the traceback, which the first formatter writes here, printable."""
        super().__setattr__(name, _fit_for_a_log(value) if name == "exc_text" and value else value)


def _fit_for_a_log(text: str) -> str:
    return _TOKEN.sub("…", visible(text))


_GOOD_ENDS = ("Finished in state Completed", "Finished in state Cached")


def worth_logging(record: logging.LogRecord) -> bool:
    """Drop what Prefect logs around every hook and at every good end of a step: the hook's own line says all."""
    text = record.getMessage()
    return "note_outcome" not in text and not text.startswith(_GOOD_ENDS)


def set_up_logging() -> None:
    """Let every logger of this process make such records, and Prefect's not say twice how a step ended."""
    logging.setLogRecordFactory(PrintableRecord)
    logging.getLogger("prefect.task_runs").addFilter(worth_logging)
