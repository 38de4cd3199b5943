import os
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT

# As in a run of a worker: Prefect has set up its loggers before it imports the flow.
PROGRAM = """
import logging, os, sys
from pathlib import Path
from prefect.logging import get_logger
{mend}
import tqdm
from rich.console import Console
sys.stdin.read()  # until the readers are gone
for _ in range(3):
    get_logger("flow_runs").info("a line of the log")
    Console().print("a table")
    print("a line", flush=True)
    for _ in tqdm.tqdm(range(2), mininterval=0):
        pass
    os.system("echo a child's line")
Path(sys.argv[1]).write_text("went on")
"""


def _ends(mend, tmp_path, *, unbuffered):
    """Run the program, whose output nobody reads any more; return its exit code and whether it came to its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(mend=mend), tmp_path / "end"],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    process.stderr.close()
    process.stdin.close()
    return process.wait(timeout=120), (tmp_path / "end").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_process_goes_on_when_nobody_reads_what_it_prints(tmp_path, unbuffered):
    assert _ends("import tasks", tmp_path, unbuffered=unbuffered) == (0, True)


def test_without_it_prefect_ends_the_process(tmp_path):
    """Else all of this could go."""
    assert _ends("", tmp_path, unbuffered="") == (1, False)


@pytest.mark.parametrize("options", [[], ["-u"]])
def test_what_is_printed_stays_the_same(options):
    program = (
        "import sys, tasks; print('Größe', 1, end=''); print(' é', file=sys.stderr); print(sys.stdout.line_buffering)"
    )
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, *options, "-c", program], cwd=CHECKOUT, env=environment, capture_output=True)
    assert done.stdout == "Größe 1False\n".encode("latin-1")
    assert done.stderr == " é\n".encode("latin-1")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_log_on_a_full_disk_ends_nothing():
    program = "import tasks; print('a line', flush=True)"
    with open("/dev/full", "wb") as full:
        assert subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, stdout=full, stderr=full).returncode == 0
