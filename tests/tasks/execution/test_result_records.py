"""The guard against results that run code, in every way in which Prefect reads one."""

import asyncio
import contextlib
import json
import subprocess
import sys
import textwrap
import time

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultRecordMetadata, ResultStore
from prefect.serializers import JSONSerializer, PickleSerializer

from models.bounds import JSON_BYTES, JSON_DEPTH
from tasks.execution.result_records import SERIALIZER, DamagedRecordError, deserialize
from tasks.records.base import DocumentRecord, RunReference, StoredFile
from tests.tasks.hostile_results import HOSTILE, hostile_result

RECORD = DocumentRecord(document=StoredFile(uri="a", sha256="b", size=1, media_type="text/markdown"))


@pytest.fixture
def results(tmp_path):
    return ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path)), serializer=SERIALIZER)


def test_the_attacks_are_real(tmp_path):
    """In a process without the guard each makes its file."""
    for attack in HOSTILE:
        (tmp_path / f"{attack}.json").write_bytes(hostile_result(attack, tmp_path / f"{attack}.marker"))
    code = """
        import contextlib, sys
        from pathlib import Path
        from prefect.results import ResultRecord
        for path in Path(sys.argv[1]).glob("*.json"):
            with contextlib.suppress(Exception):
                ResultRecord.deserialize(path.read_bytes())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], timeout=300, check=True)
    waited = time.monotonic() + 240
    while len(list(tmp_path.glob("*.marker"))) < len(HOSTILE) and time.monotonic() < waited:
        time.sleep(0.05)
    assert sorted(path.stem for path in tmp_path.glob("*.marker")) == sorted(HOSTILE)


@pytest.mark.parametrize("attack", HOSTILE)
def test_no_way_of_reading_a_result_runs_what_it_holds(results, tmp_path, attack):
    marker, path = tmp_path / "marker", tmp_path / "step" / "key"
    path.parent.mkdir()
    path.write_bytes(hostile_result(attack, marker))
    assert not results.exists("step/key")
    assert not asyncio.run(results.aexists("step/key"))
    with pytest.raises(DamagedRecordError):
        results.read("step/key")
    with pytest.raises(DamagedRecordError):
        asyncio.run(results.aread("step/key"))
    for serializer in (SERIALIZER, PickleSerializer()):  # of a state that a server knows
        metadata = ResultRecordMetadata(storage_key=str(path), serializer=serializer)
        with pytest.raises(DamagedRecordError):
            asyncio.run(ResultStore._from_metadata(metadata))
    split = ResultStore(
        result_storage=results.result_storage, metadata_storage=LocalFileSystem(basepath=str(tmp_path / "metadata"))
    )
    parts = json.loads(path.read_bytes())
    results.result_storage.write_path("result", content=str(parts.get("result")).encode())
    described = parts.get("metadata", {}) | {"storage_key": "result"}
    split.metadata_storage.write_path("step/key", content=json.dumps(described).encode())
    with pytest.raises(DamagedRecordError):
        split.read("step/key")
    time.sleep(0.2)  # that a started process may need
    assert not marker.exists()


def test_records_come_back_as_they_were_written(results):
    for number, value in enumerate([RECORD, [RECORD, RunReference(run_id="run")], {"a": [1, None, RECORD]}, "text", 5]):
        results.write(value, key=f"key-{number}")
        results.cache.clear()
        assert results.exists(f"key-{number}")
        assert results.read(f"key-{number}").result == value


def test_a_result_without_metadata_is_read_as_json_only():
    assert deserialize(b'{"a": 1}', backup_serializer=JSONSerializer()).result == {"a": 1}
    with pytest.raises(DamagedRecordError, match="serializer"):
        deserialize(b'{"a": 1}', backup_serializer=PickleSerializer())


@pytest.mark.parametrize(
    "result",
    [
        "{",
        "[" * 100_000,
        "[" * (JSON_DEPTH + 2) + "]" * (JSON_DEPTH + 2),
        json.dumps("a" * JSON_BYTES),
        "9" * 5_000,
        json.dumps({"__class__": "tasks.records.DocumentRecord"}),
        json.dumps({"__class__": ["tasks.records.DocumentRecord"], "data": {}}),
        json.dumps({"__exc_type__": "builtins.SystemExit", "message": "0"}),
        json.dumps({"data": {"__class__": "antigravity.fly", "data": {}}}),
    ],
)
def test_damaged_deep_huge_and_foreign_json_is_refused_in_one_line(results, result):
    results.write(RECORD, key="key")
    content = json.loads(results.result_storage.read_path("key"))
    with pytest.raises(DamagedRecordError) as caught:
        deserialize(json.dumps(content | {"result": result}).encode())
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_a_result_of_which_the_disk_turned_a_bit_is_damaged(results, tmp_path):
    results.write(RECORD, key="step/key")
    content = (tmp_path / "step" / "key").read_bytes()
    for place, byte in enumerate(content):
        for bit in range(8):
            turned = content[:place] + bytes([byte ^ 1 << bit]) + content[place + 1 :]
            with contextlib.suppress(DamagedRecordError):
                assert deserialize(turned).result == RECORD


def test_a_result_that_was_written_without_a_digest_is_read(results, tmp_path):
    results.write(RECORD, key="step/key")
    content = json.loads((tmp_path / "step" / "key").read_bytes())
    del content["sha256"]
    assert deserialize(json.dumps(content).encode()).result == RECORD
