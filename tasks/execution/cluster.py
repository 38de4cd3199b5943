"""What becomes of a Dask cluster while it works, in a sentence: its scheduler is gone, or worker after worker died.

A worker that dies once is no error: Dask gives its part to another, and starts a new one where the cluster is its own.
"""

import sys

from models.errors import InputError

_KEPT = "what was finished is kept, and the next run goes on from there."


def cluster_error(error: BaseException) -> InputError | None:
    """Say in one sentence what happened to the cluster, where an error came from one.

    Args:
        error: of any library.

    Returns:
        The sentence, or None where no cluster is to blame.
    """
    if "distributed" not in sys.modules:  # takes a second to load, and who has no cluster needs it not
        return None
    from distributed import CancelledError, KilledWorker
    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KilledWorker):
            return InputError(
                f"{cause.allowed_failures + 1} workers of the Dask cluster died at one part of this run, as they do "
                f"where memory runs out: see their logs, or take fewer workers (--execution.workers); {_KEPT}"
            )
        if isinstance(cause, CancelledError | ClosedClientError | CommClosedError):
            return InputError(
                f"The scheduler of the Dask cluster is gone, or cannot be reached any more: start it anew; {_KEPT}"
            )
        cause = cause.__cause__ or cause.__context__
    return None
