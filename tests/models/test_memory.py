import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
{first}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.full(48 << 20, 1, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(first):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first=first)], check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
@pytest.mark.parametrize("first", ["from models.memory import keep_freed_memory; keep_freed_memory()", "import tasks"])
def test_what_is_freed_is_used_again(first):
    """Fifty arrays in turn are one array's pages once, instead of fifty times."""
    assert _page_faults(first) < _page_faults("") / 10
