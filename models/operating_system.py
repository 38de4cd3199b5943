"""What the project asks of the operating system."""

import importlib
import platform

from models.errors import InputError

UNIX_ONLY = ("fcntl", "resource")
"""Modules that Python has on Linux and macOS only: runs lock files by the one and bound decoders by the other."""


def require_unix() -> None:
    """Refuse, before anything is computed, a system on which a run could not work.

    Raises:
        InputError: Python lacks a module that it has on Linux and macOS.
    """
    for name in UNIX_ONLY:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"this runs on Linux and macOS, since Python has no module {name} here: on Windows install WSL "
                "(`wsl --install`) and run it in there, as on any Linux."
            ) from error


def difference() -> str | None:
    """Return in one sentence what differs on this system from Linux, where all is tested; None where nothing does."""
    system = platform.system().replace("Darwin", "macOS")
    if system == "Linux":
        return None
    return (
        f"note: on {system} nothing is tested, and pictures are decoded without a bound on memory; if a run "
        'ends with "OMP: Error #15", which PyTorch and FAISS cause by an OpenMP each, set KMP_DUPLICATE_LIB_OK=TRUE.'
    )
