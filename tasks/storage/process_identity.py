"""Which process is meant: its number goes to others once it has ended."""

import contextlib
from pathlib import Path

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def process_identity(process_id: int) -> str:
    """Name a process so that another one which got the same number later is told apart; empty if there is none.

    Linux counts from the start of the machine when a process began. The time of day would not do: it is the sum of that
    and of the time of the start, which moves with the clock, so that a process that lives would get another name when
    somebody, or a time server, sets the clock.

    Args:
        process_id: its number.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        ticks = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{process_id}@{_BOOT.read_text()[:8]}.{ticks}"
    try:
        return f"{process_id}@{psutil.Process(process_id).create_time():.0f}"
    except psutil.Error:
        return ""
