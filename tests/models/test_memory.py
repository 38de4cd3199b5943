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
