"""What kind of fault an error is, for whoever decides whether and how to go on."""

import gc

import torch

from models.errors import InputError

_SIGNS_OF_NO_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory")
"""Of CUDA itself, of its libraries, and of PyTorch on a CPU."""


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether a smaller batch may cure an error."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in message for sign in _SIGNS_OF_NO_MEMORY)


def is_fatal(error: Exception) -> bool:
    """Tell whether nothing else can be tried after an error: the user's mistake, the network, a GPU out of order."""
    if isinstance(error, InputError | ConnectionError | TimeoutError | torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and str(error).startswith("CUDA error")


def free_memory() -> None:
    """Give back what nothing refers to any more, on the GPU as well."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
