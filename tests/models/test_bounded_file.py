import os

import psutil
import pytest

from models import hub
from models.bounded_file import read_file
from models.bounds import CORRECTIONS_BYTES, UNPACKED_BYTES
from models.classifier.pretrained import find_weights
from models.errors import InputError
from models.report_generation.prompting import read_strategy
from tasks.data.steps import locate_source
from tasks.parameters.dataset import DatasetParameters
from tasks.retrieval.analyses.text_queries import read_prompts


def test_a_file_is_read_up_to_the_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than"):
        read_file(path, 4)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing", 4)


def test_a_pipe_is_not_waited_for_and_a_device_not_read_to_its_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read_file(path, 5)


READERS = {
    "config.json": hub.read_json,
    "concise.yaml": read_strategy,
    "prompts.json": read_prompts,
    "labels.csv": lambda path: locate_source(DatasetParameters(corrections=str(path))),
}


@pytest.mark.parametrize("name", READERS)
def test_whoever_reads_a_file_that_a_person_names_refuses_both(name, tmp_path, official_file, outputs, monkeypatch):
    monkeypatch.setenv("DATA", str(official_file.parent))
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(InputError, match="cannot be read"):
        READERS[name](path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(CORRECTIONS_BYTES + 1)
    with pytest.raises(InputError, match=r"more than|larger"):
        READERS[name](path)


LARGE = {
    "weights.pth": lambda path: find_weights(str(path), "compact28"),
    "weights.safetensors": lambda path: find_weights(str(path), "compact28"),
    "set.npz": lambda path: locate_source(DatasetParameters(path=str(path))),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_by_nature_is_refused_for_its_size_before_it_is_read(name, tmp_path):
    with (tmp_path / name).open("wb") as file:
        file.truncate(UNPACKED_BYTES + 2**26)  # a file of nothing but a hole
    before = psutil.Process().io_counters().read_chars
    with pytest.raises(InputError, match=r"4\.1 GiB.* 4") as refused:
        LARGE[name](tmp_path / name)
    assert name in str(refused.value)
    assert psutil.Process().io_counters().read_chars - before < 2**26
