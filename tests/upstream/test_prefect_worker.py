"""What a worker logs of a run that waits, and how long it asks a server that is away: `deployments.local.worker`."""

import asyncio
import inspect
from uuid import uuid4

import httpx
import pytest
from prefect._internal import observers
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.services import critical_service_loop
from prefect.workers import base
from prefect.workers.process import ProcessWorker

from deployments.local.worker import LOGGER, outlast_the_server


def test_a_worker_logs_the_attempts_to_submit_a_run_where_the_filter_is():
    worker = ProcessWorker(work_pool_name="cpu")
    logger = worker.get_flow_run_logger(FlowRun(id=uuid4(), flow_id=uuid4(), name="waits"))
    assert logger.logger.name == LOGGER
    submits = inspect.getsource(worker._submit_scheduled_flow_runs)
    assert "Worker '{self.name}' submitting flow run '{flow_run.id}'" in submits
    assert "Aborted submission of flow run '{flow_run.id}'" in inspect.getsource(worker._propose_pending_state)


def test_a_worker_outlasts_its_server_and_prefects_own_does_not():
    asked = {}

    async def poll(loop, name, failures=20):
        async def ask():
            asked[name] = asked.get(name, 0) + 1
            if asked[name] <= failures:
                raise httpx.ConnectError("nobody is there")

        await asyncio.wait_for(loop(ask, 0.001, printer=lambda *words: None), 1)

    with pytest.MonkeyPatch.context() as patch:
        for module in (observers, base):
            patch.setattr(module, "critical_service_loop", critical_service_loop)  # restored in the end
            with pytest.raises(RuntimeError, match="Service exceeded error threshold"):
                asyncio.run(poll(module.critical_service_loop, "own"))
        outlast_the_server()
        for module in (observers, base):
            with pytest.raises(TimeoutError):
                asyncio.run(poll(module.critical_service_loop, module.__name__))
            assert asked[module.__name__] > 20
