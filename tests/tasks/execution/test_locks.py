import subprocess
import sys
import textwrap

import pytest

from tasks.execution.locks import ProcessLocks

pytestmark = pytest.mark.usefixtures("outputs")


def test_a_lock_is_held_by_one_and_freed_by_its_holder():
    mine, other = ProcessLocks(), ProcessLocks()
    assert mine.acquire_lock("step/key", holder="me")
    assert mine.is_lock_holder("step/key", "me")
    assert other.is_locked("step/key")
    assert not other.acquire_lock("step/key", holder="you", acquire_timeout=0.1)
    assert not other.wait_for_lock("step/key", timeout=0.1)
    with pytest.raises(ValueError, match="does not hold"):
        mine.release_lock("step/key", holder="you")
    mine.release_lock("step/key", holder="me")
    assert not other.is_locked("step/key")
    assert other.acquire_lock("step/key", holder="you", acquire_timeout=0.1)
    other.release_lock("step/key", holder="you")


def test_a_killed_process_frees_its_lock():
    code = """
        import sys
        from tasks.execution.locks import ProcessLocks
        locks = ProcessLocks()
        locks.acquire_lock("step/key", holder="child")
        print("held", flush=True)
        sys.stdin.read()
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], text=True, **pipes)
    assert child.stdout.readline().strip() == "held"
    locks = ProcessLocks()
    assert locks.is_locked("step/key")
    child.kill()
    child.wait()
    assert locks.acquire_lock("step/key", holder="me", acquire_timeout=60)
    locks.release_lock("step/key", holder="me")
