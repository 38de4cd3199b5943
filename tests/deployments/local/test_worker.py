import logging

from deployments.local.worker import SaidOnce


def test_a_run_that_waits_says_so_once_and_everything_else_is_said_each_time(caplog):
    logger = logging.getLogger("test.worker")
    logger.addFilter(SaidOnce())
    with caplog.at_level(logging.INFO, "test.worker"):
        for run in ("a", "b", "a", "a"):
            logger.info("Aborted submission of flow run '%s'. Server sent an abort signal: no room.", run)
            logger.info("Worker submits a flow run.")
    assert [record.message.split("'")[1] for record in caplog.records if "Aborted" in record.message] == ["a", "b"]
    assert sum("submits" in record.message for record in caplog.records) == 4
