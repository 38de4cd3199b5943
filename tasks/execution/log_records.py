"""Records of the log, which goes to the terminal, to files and to the server's pages.

What libraries say of a file quotes the file, in messages and in tracebacks, and a terminal obeys escape sequences
wherever they come from. So control characters are written out in the record itself, whatever logger and handler it
passes.
"""

import logging
from typing import Any

from models.text import visible


class PrintableRecord(logging.LogRecord):
    """A record whose message and traceback hold no control characters but line breaks and tabs."""

    def getMessage(self) -> str:  # noqa: N802  # the name that `logging` gave it
        """Return the message with its arguments."""
        return visible(super().getMessage())

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the traceback, which the first formatter writes here, printable."""
        super().__setattr__(name, visible(value) if name == "exc_text" and value else value)


def make_records_printable() -> None:
    """Let every logger of this process make such records."""
    logging.setLogRecordFactory(PrintableRecord)
