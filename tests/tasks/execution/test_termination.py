import asyncio
import os
import signal
import threading

import pytest
from prefect.exceptions import TerminationSignal

from tasks.execution import progress
from tasks.execution.termination import asked_for, end_if_asked, noted
from tasks.records.base import ProgressReference


class Dropped:
    """Ends the process as it is deleted, where Python drops the exception of the handler."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_work_goes_on_after_a_dropped_signal_until_its_next_unit(raising_handlers):
    elsewhere = ProgressReference(artifacts=[], description="work", total=2)
    with noted():
        progress.advance(elsewhere, 1)
        Dropped()
        with pytest.raises(TerminationSignal):
            progress.advance(elsewhere, 1)
        with pytest.raises(TerminationSignal):
            end_if_asked()
    end_if_asked()


def test_the_outermost_block_notes_for_all_and_for_all_threads(raising_handlers):
    found = []
    with noted():
        with noted():
            assert asked_for() is None
            with pytest.raises(TerminationSignal):
                os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=lambda: found.append(asked_for()))
        thread.start()
        thread.join()
        assert isinstance(asked_for(), TerminationSignal)
    assert isinstance(found[0], TerminationSignal)
    assert asked_for() is None


def test_handlers_stay_and_other_signals_end_nothing(raising_handlers):
    arrived = []
    before = signal.signal(signal.SIGUSR1, lambda *_: arrived.append(1))
    try:
        with noted():
            assert signal.getsignal(signal.SIGTERM) is raising_handlers
            os.kill(os.getpid(), signal.SIGUSR1)
            assert arrived == [1]
            assert asked_for() is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_event_loop_keeps_its_own_signals(raising_handlers):
    async def work():
        woken = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, woken.set)
        with noted():
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(woken.wait(), 60)
            assert asked_for() is None

    before = signal.getsignal(signal.SIGUSR1)
    try:
        asyncio.run(work())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_to_a_fork_is_none_to_its_parent(raising_handlers):
    with noted():
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except TerminationSignal:
                os._exit(7)
            os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert asked_for() is None
