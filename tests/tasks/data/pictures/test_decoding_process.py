import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from models.errors import InputError
from tasks.data.pictures import image_file
from tasks.data.pictures.decoding_process import MAXIMUM_SECONDS, DecodingProcess, DecodingProcesses
from tasks.data.pictures.image_file import read_image
from tests.tasks.data.pictures.dicom_files import IMAGE
from tests.tasks.data.pictures.picture_files import png, tiff

ENDLESS = 2_000_000  # rows in strips of their own, which take 10 s to list


@pytest.fixture
def small(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "small.png")
    return tmp_path / "small.png"


@pytest.fixture
def endless(tmp_path):
    (tmp_path / "endless.tif").write_bytes(tiff(bytes(30), 30, ENDLESS, rows_per_strip=1))
    return tmp_path / "endless.tif"


@pytest.fixture
def process():
    made = []

    def make(**bounds):
        made.append(DecodingProcess(**bounds))
        return made[-1]

    yield make
    for one in made:
        one.end()


def decode(process, path):
    with path.open("rb") as file:
        return process.decode(file, path.name)


def children():
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"cpu_seconds": 1}, "it takes more than 1 s of a processor"),
        ({"seconds": 0.5}, "it takes more than 0.5 s)"),
        ({"memory_bytes": 32 << 20}, "it takes more than 32 MB of memory"),
    ],
)
def test_what_goes_beyond_a_bound_is_refused_and_the_next_file_is_read(bounds, said, small, endless, process, tmp_path):
    bounded = process(**bounds)
    if "memory_bytes" in bounds:
        endless = tmp_path / "large.png"
        endless.write_bytes(png(8000))
    with pytest.raises(InputError) as caught:
        decode(bounded, endless)
    assert said in str(caught.value)
    assert endless.name in str(caught.value)
    bounded._seconds = MAXIMUM_SECONDS  # a busy machine may take long over a small file
    assert np.array_equal(decode(bounded, small).levels, IMAGE)


@pytest.fixture
def crash(monkeypatch):
    """Has the child of a process crash over the file that comes next, and returns the ids of those that did."""
    crashed, send = [], socket.send_fds

    def crash_over(process):
        def send_and_crash(*arguments):
            crashed.append(process._child.pid)
            os.kill(process._child.pid, signal.SIGSTOP)  # it shall have the file, and no time to answer
            send(*arguments)
            os.kill(process._child.pid, signal.SIGSEGV)
            os.kill(process._child.pid, signal.SIGCONT)
            monkeypatch.setattr(socket, "send_fds", send)

        monkeypatch.setattr(socket, "send_fds", send_and_crash)
        return crashed

    return crash_over


def test_a_decoder_that_crashes_on_its_first_file_is_said_so(small, process, crash):
    crashing = process()
    crashed = crash(crashing)
    with pytest.raises(InputError, match="the decoder fails on it"):
        decode(crashing, small)
    assert len(crashed) == 1
    assert np.array_equal(decode(crashing, small).levels, IMAGE)


def test_a_process_that_has_decoded_before_gets_a_second_chance_as_a_fresh_one(small, process, crash):
    crashing = process()
    decode(crashing, small)
    crashed = crash(crashing)
    assert np.array_equal(decode(crashing, small).levels, IMAGE)
    assert len(crashed) == 1
    assert crashing._child.pid not in crashed


def test_a_child_that_was_killed_between_two_files_is_replaced(small, process):
    before = children()
    killed = process()
    decode(killed, small)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    assert np.array_equal(decode(killed, small).levels, IMAGE)


def test_one_child_serves_many_files_and_threads(tmp_path, process):
    before = children()
    shared = process()
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((5 + number, 6), number, dtype=np.uint8)).save(path)
    with ThreadPoolExecutor(8) as pool:
        for number, levels in enumerate(pool.map(lambda path: decode(shared, path).levels, paths)):
            assert np.array_equal(levels, np.full((5 + number, 6), number))
    assert len(children() - before) == 1


def test_nothing_of_a_file_reaches_the_terminal(capfd):
    # pydicom warns of the first, and libjpeg of the second.
    for name in ("SC_rgb_jpeg.dcm", "JPEG-lossy.dcm"):
        read_image(get_testdata_file(name))
    assert capfd.readouterr() == ("", "")


def test_files_of_the_working_folder_are_not_imported(small, process, tmp_path, monkeypatch):
    for module in ("numpy", "json", "tasks"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(decode(process(), small).levels, IMAGE)


def test_threads_decode_side_by_side_and_one_alone_starts_one_child(small):
    pool = DecodingProcesses(2)
    try:
        for _ in range(3):
            assert np.array_equal(decode(pool, small).levels, IMAGE)
        assert sum(process._child is not None for process in pool._all) == 1
        first = pool._idle.get()  # as a thread that decodes has it
        assert np.array_equal(decode(pool, small).levels, IMAGE)
        pool._idle.put(first)
        assert len({process._child.pid for process in pool._all}) == 2
        with ThreadPoolExecutor(4) as threads:
            found = threads.map(lambda _: decode(pool, small).levels, range(20))
            assert all(np.array_equal(levels, IMAGE) for levels in found)
    finally:
        for process in pool._all:
            process.end()


def test_a_fork_has_a_child_of_its_own(small):
    read_image(small)
    ours = image_file._DECODERS._all[-1]._child.pid
    if not (pid := os.fork()):
        right = np.array_equal(read_image(small), IMAGE) and image_file._DECODERS._all[-1]._child.pid != ours
        image_file._DECODERS._all[-1].end()
        os._exit(0 if right else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert np.array_equal(read_image(small), IMAGE)
    assert image_file._DECODERS._all[-1]._child.pid == ours


@pytest.mark.parametrize("ending", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_the_child_ends_with_its_parent(ending, small):
    program = f"""
from tasks.data.pictures import image_file
image_file.read_image({str(small)!r})
print(image_file._DECODERS._all[-1]._child.pid, flush=True)
{ending}
"""
    root = Path(image_file.__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert not run.stderr
    deadline = time.monotonic() + 240
    while psutil.pid_exists(int(run.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(run.stdout))
