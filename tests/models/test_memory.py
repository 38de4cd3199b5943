import subprocess
import sys

import pytest

ARRAY_MIB = 64
PROGRAM = """
import numpy as np
import psutil
{first}
before = psutil.Process().memory_info().rss
np.ones({mib} << 20, np.uint8)
print((psutil.Process().memory_info().rss - before) >> 20)
"""


def _kept_mib(first):
    """Count what a process still holds after an array is gone."""
    program = PROGRAM.format(first=first, mib=ARRAY_MIB)
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
@pytest.mark.parametrize("first", ["from models.memory import keep_freed_memory; keep_freed_memory()", "import tasks"])
def test_what_is_freed_is_kept(first):
    assert _kept_mib(first) >= ARRAY_MIB - 1  # the count rounds down, and the program frees a few pages of its own
    assert _kept_mib("") < ARRAY_MIB / 2


THREADS = """
import ctypes, threading
from tests.support.heaps import thread_heaps
{first}
malloc = ctypes.CDLL(None).malloc
barrier = threading.Barrier(4)
def allocate():
    barrier.wait()
    malloc(5000)
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(thread_heaps())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_threads_share_one_heap():
    def heaps(first):
        program = [sys.executable, "-c", THREADS.format(first=first)]
        return int(subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout)

    assert heaps("from models.memory import share_one_heap; share_one_heap()") == 0
    assert heaps("") > 0
