import subprocess
import sys

import pytest

from tests.soak.faults import clock_library, set_clock

_TELL = """
import queue, sys, time
from datetime import datetime, timezone
for line in sys.stdin:
    start = time.monotonic()
    try:
        queue.Queue().get(timeout=0.01)
    except queue.Empty:
        time.sleep(0.01)
    print(time.time(), datetime.now(timezone.utc).timestamp(), time.monotonic() - start, flush=True)
"""


def test_the_time_of_the_day_jumps_and_waiting_does_not(tmp_path):
    library, told = clock_library(tmp_path), tmp_path / "clock"
    if library is None:
        pytest.skip("there is no C compiler")
    set_clock(told, 0)
    process = subprocess.Popen(
        [sys.executable, "-c", _TELL],
        env={"LD_PRELOAD": str(library), "SOAK_CLOCK": str(told)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask():
        process.stdin.write("\n")
        process.stdin.flush()
        return [float(word) for word in process.stdout.readline().split()]

    days = {}
    for days_off in (0, 1, -1):
        set_clock(told, days_off * 86_400)
        now, date, waited = ask()
        assert 0 < waited < 43_200
        assert abs(now - date) < 43_200
        days[days_off] = now
    process.stdin.close()
    assert process.wait() == 0
    assert [round((days[off] - days[0]) / 86_400) for off in (1, -1)] == [1, -1]
