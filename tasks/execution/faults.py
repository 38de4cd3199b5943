"""Which faults pass by themselves, so that trying again makes sense."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Tell whether a failed task may be tried again (a Prefect retry condition).

    Connections that break and servers that are slow pass by themselves. A user's mistake, a model that does not fit, a
    damaged file or an error in the code do not.

    Args:
        task: the task.
        task_run: its run.
        state: how it ended.

    Returns:
        Whether to try again.
    """
    import httpx  # what Prefect and the Hugging Face hub connect with

    try:
        state.result()
    except (ConnectionError, TimeoutError, httpx.TransportError):
        return True
    except BaseException:
        return False
    return False
