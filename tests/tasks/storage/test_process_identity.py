import os
import subprocess
import sys

import psutil
import pytest

from tasks.storage.process_identity import process_identity


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def test_processes_are_told_apart_and_the_dead_have_no_name(child):
    assert process_identity(os.getpid()) != process_identity(child.pid) != ""
    child.communicate()
    assert process_identity(child.pid) == ""


@pytest.mark.parametrize("jump", [-86_400, 86_400, 1])
def test_a_process_keeps_its_name_when_the_clock_is_set(child, monkeypatch, jump):
    """The time at which the machine was started, which Linux reckons from the clock, moves with it."""
    before, started = process_identity(child.pid), psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: started + jump)
    assert process_identity(child.pid) == before
