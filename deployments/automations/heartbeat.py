"""The signs of life by which the server tells a run that works from one whose process is gone."""

import os

from models.errors import InputError
from tasks.storage.locations import HEARTBEAT_SECONDS

_VARIABLE, _LEAST, _MOST = "HEARTBEAT_WINDOW", 45, 86_400
_DEFAULT = 6 * HEARTBEAT_SECONDS  # so that a busy machine, or a server that is started anew, crashes no run that lives


def heartbeat_window() -> int:
    """Return after how many silent seconds a run counts as crashed: `HEARTBEAT_WINDOW`, else 180.

    Raises:
        InputError: it is not a number, or so small that a run which lives would be crashed.
    """
    text = os.environ.get(_VARIABLE) or str(_DEFAULT)
    if not text.isdecimal() or not _LEAST <= int(text) <= _MOST:
        raise InputError(
            f"{_VARIABLE}={text} is not a time to wait for a run's sign of life, which comes every "
            f"{HEARTBEAT_SECONDS} s: give a number of seconds from {_LEAST} to {_MOST}."
        )
    return int(text)
