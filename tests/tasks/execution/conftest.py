import signal

import pytest
from prefect.exceptions import TerminationSignal


@pytest.fixture
def raising_handlers():
    """Answer SIGTERM and SIGINT by exceptions, as Prefect and Python do within a run; yields the one of SIGTERM."""

    def end(number, frame):
        raise TerminationSignal(number)

    before = signal.signal(signal.SIGTERM, end), signal.signal(signal.SIGINT, signal.default_int_handler)
    yield end
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])
