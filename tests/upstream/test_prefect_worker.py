"""What a worker logs of a run that has to wait, and where, which `deployments.local.worker` lets it say once."""

import inspect
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessWorker

from deployments.local.worker import LOGGER


def test_a_worker_logs_the_attempts_to_submit_a_run_where_the_filter_is():
    worker = ProcessWorker(work_pool_name="cpu")
    logger = worker.get_flow_run_logger(FlowRun(id=uuid4(), flow_id=uuid4(), name="waits"))
    assert logger.logger.name == LOGGER
    submits = inspect.getsource(worker._submit_scheduled_flow_runs)
    assert "Worker '{self.name}' submitting flow run '{flow_run.id}'" in submits
    assert "Aborted submission of flow run '{flow_run.id}'" in inspect.getsource(worker._propose_pending_state)
