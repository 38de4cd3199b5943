import logging

from deployments.local.worker import REMEMBERED, SaidOnce


def test_a_run_that_waits_says_so_once_and_everything_else_is_said_each_time(caplog):
    logger = logging.getLogger("test.worker")
    logger.addFilter(SaidOnce())
    with caplog.at_level(logging.INFO, "test.worker"):
        for run in ("a", "b", "a", "a"):
            logger.info("Worker 'cpu-1' submitting flow run '%s'", run)
            logger.info("Aborted submission of flow run '%s'. Server sent an abort signal: no room.", run)
            logger.info("Flow run submitted to infrastructure")
        logger.info("Aborted submission of flow run 'a': the server has another reason.")
    said = [record.message for record in caplog.records]
    assert [message[-2] for message in said if "submitting" in message] == ["a", "b"]
    assert [message.split("'")[1] for message in said if "Aborted" in message] == ["a", "b", "a"]
    assert sum("infrastructure" in message for message in said) == 4


def test_what_waits_is_remembered_as_long_as_it_is_tried_and_what_does_not_is_forgotten():
    said = SaidOnce()

    def told(run):
        text = f"Worker 'cpu-1' submitting flow run '{run}'"
        return said.filter(logging.LogRecord("worker", logging.INFO, "", 0, text, None, None))

    assert told("waits") and told("gone")
    for run in range(REMEMBERED):
        assert told(run)
        assert not told("waits")
    assert told("gone")
