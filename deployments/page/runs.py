"""Runs of the deployment `cases` through Prefect's API: start one, and say in words where it stands."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from deployments.page.refusal import RefusalError
from models.errors import LONGEST_SENTENCE
from models.text import printable

DEPLOYMENT = "cases/cases"
TAG = "page"
_ANSWER_SECONDS = 10
_LONGEST_NAME = 80
_NO_WORKER = "No worker is up that could take it: start one with `make up`. It is looked at as soon as there is one."
_WRAPPING = re.compile(r"^Flow run encountered an exception: (\w+: )?")  # Prefect's words around an error's own
_LATE = "Waiting for its turn: the worker is busy, or its pool or queue is paused."


class Progress(NamedTuple):
    """Where a run stands.

    Attributes:
        stage: what a page does about it.
        words: what a person reads.
    """

    stage: Literal["waiting", "running", "done", "failed"]
    words: str


async def start(pictures: Sequence[Path]) -> UUID:
    """Let the deployment `cases` look at pictures; it does so as soon as a worker takes the run.

    Args:
        pictures: the files.

    Returns:
        Id of the flow run.

    Raises:
        RefusalError: Prefect does not answer, or has no such deployment.
    """
    named = pictures[0].name if len(pictures) == 1 else f"{len(pictures)} pictures"
    try:
        async with _client() as client:
            deployment = await client.read_deployment_by_name(DEPLOYMENT)
            run = await client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"cases": {"images": [str(path) for path in pictures]}},
                name=f"page: {printable(named, _LONGEST_NAME)}",
                tags=[TAG],
            )
    except ObjectNotFound as error:
        raise RefusalError(
            503, f"Prefect has no deployment {DEPLOYMENT} to look at pictures: register it with `make register`."
        ) from error
    except PrefectHTTPStatusError as error:
        raise RefusalError(
            503, f"Prefect does not take the run (it answers {error.response.status_code}): its log says why."
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise RefusalError(503, _no_answer(error)) from error
    return run.id


async def progress(run: UUID) -> Progress | None:
    """Say where a run stands.

    Args:
        run: its id.

    Returns:
        Its progress; None where there is no such run.

    Raises:
        RefusalError: Prefect does not answer.
    """
    try:
        async with _client() as client:
            return await _progress(client, await client.read_flow_run(run))
    except ObjectNotFound:
        return None
    except (httpx.HTTPError, OSError) as error:
        raise RefusalError(503, _no_answer(error)) from error


async def _progress(client: PrefectClient, run: FlowRun) -> Progress:
    state = run.state
    if state is None:
        return Progress("waiting", "Waiting for its turn.")
    if state.is_completed():
        return Progress("done", "Done.")
    if state.is_final():
        said = printable(_WRAPPING.sub("", state.message or "no reason was given"), LONGEST_SENTENCE)
        return Progress("failed", f"{str(state.name).capitalize()}: {said}")
    if state.is_running():
        return Progress("running", await _steps(client, run))
    if state.name == "AwaitingConcurrencySlot":
        return Progress("waiting", "Waiting for its turn: other pictures are being looked at.")
    if state.is_pending():
        return Progress("running", "A worker has taken it and loads the programs.")
    if not await _is_worker_up(client, run):
        return Progress("waiting", _NO_WORKER)
    if state.name == "Late":
        return Progress("waiting", _LATE)
    return Progress("waiting", "Waiting for its turn: a worker looks for work every few seconds.")


async def _steps(client: PrefectClient, run: FlowRun) -> str:
    """Say which steps are under way."""
    tasks = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), limit=200)
    now = dict.fromkeys(_plain(task.name) for task in tasks if task.state is not None and task.state.is_running())
    done = sum(task.state is not None and task.state.is_final() for task in tasks)
    under_way = f"Under way: {', '.join(list(now)[:3])}" if now else "Under way" if tasks else "Under way: loading"
    return f"{under_way}; {done} step{'' if done == 1 else 's'} done." if done else f"{under_way}."


def _plain(task: str) -> str:
    """Make of the name of a task's run, `screen_pictures-3f2` for instance, the words of the task."""
    return printable(re.sub(r"-[0-9a-f]+$", "", task).replace("_", " ").replace("-", " "), 60)


async def _is_worker_up(client: PrefectClient, run: FlowRun) -> bool:
    if run.work_pool_name is None:
        return False
    workers = await client.read_workers_for_work_pool(run.work_pool_name)
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


def _client() -> PrefectClient:
    return get_client(httpx_settings={"timeout": _ANSWER_SECONDS})


def _no_answer(error: Exception) -> str:
    return f"Prefect does not answer ({printable(error) or type(error).__name__}): start it with `make up`."
