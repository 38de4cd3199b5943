"""`STORE_URI=s3://…` on a server that speaks S3's interface."""

import json
import subprocess
import sys

import fsspec
import pytest
from pydantic import TypeAdapter

from models.errors import DiskError
from tasks.storage.checkpoints import StoredCheckpoints
from tasks.storage.disks import disk_error, require_room
from tasks.storage.finished_rows import FinishedRows
from tasks.storage.store import DamagedFileError, Store
from tests.conftest import CHECKOUT
from tests.e2e.object_store import BUCKET, object_store

pytestmark = pytest.mark.e2e
ROWS = TypeAdapter(list[int])
LARGE = 6 << 20  # more than the first part of an upload
WORKER = """
import json, sys
from pydantic import TypeAdapter
from tasks.storage.finished_rows import FinishedRows
from tasks.storage.store import Store

rows = FinishedRows(Store(), "jobs", {"model": "a"}, TypeAdapter(list[int]))
first = int(sys.argv[1])
print(json.dumps(sorted(rows.read())), flush=True)
for line in sys.stdin:  # a round each: write a shard, then tell what is there
    rows.write([first + int(line)])
    print(json.dumps(sorted(rows.read_new())), flush=True)
"""


@pytest.fixture(scope="module")
def server():
    with object_store() as running:
        yield running
        fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def store(server, monkeypatch):
    return Store()


def _key(name):
    return {"Bucket": BUCKET, "Key": f"store/{name}"}


def test_content_comes_back_and_damage_is_told(server, store):
    stored = store.put(b"content", "application/json")
    assert server.client.get_object(**_key(stored.uri))["Body"].read() == b"content"
    assert store.get(stored) == b"content"
    server.client.put_object(**_key(stored.uri), Body=b"conten")  # cut off
    assert not store.intact(stored)
    assert store.get(store.put(b"content", "application/json")) == b"content"
    server.client.delete_object(**_key(stored.uri))
    with pytest.raises(DamagedFileError, match="is missing"):
        store.get(stored)
    store.remove(stored.uri)


def test_lists_tell_what_another_has_written_or_removed_since(server, store):
    """A file system of fsspec remembers its listings, so that two workers would not see each other's shards."""
    assert store.list("jobs/x") == []
    store.write("jobs/x/a.json", b"1")
    assert store.list("jobs/x") == ["jobs/x/a.json"]
    server.client.put_object(**_key("jobs/x/b.json"), Body=b"2")
    assert store.list("jobs/x") == ["jobs/x/a.json", "jobs/x/b.json"]
    server.client.delete_object(**_key("jobs/x/a.json"))
    assert store.list("jobs/x") == ["jobs/x/b.json"]
    server.client.put_object(**_key("jobs/x/c.json"), Body=b"3")
    store.remove("jobs/x")
    assert "Contents" not in server.client.list_objects_v2(Bucket=BUCKET, Prefix="store/jobs/x")


def test_two_workers_see_each_others_rows(server):
    """This process is the first."""
    here = FinishedRows(Store(), "jobs", {"model": "a"}, ROWS)
    assert list(here.read()) == []
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, "200"], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert json.loads(other.stdout.readline()) == []
        for number in range(3):
            here.write([100 + number])
            other.stdin.write(f"{number}\n")
            other.stdin.flush()
            new = [100 + number, 200 + number]
            assert json.loads(other.stdout.readline()) == new
            assert sorted(here.read_new()) == new
        other.stdin.close()
        assert other.wait() == 0
    assert sorted(FinishedRows(Store(), "jobs", {"model": "a"}, ROWS).read()) == [100, 101, 102, 200, 201, 202]


def test_an_upload_that_was_cut_off_has_left_nothing_that_is_read(server, store):
    content = bytes(LARGE)
    whole = store.put(content, "application/octet-stream")
    store.remove(whole.uri)
    upload = server.client.create_multipart_upload(**_key(whole.uri))["UploadId"]
    server.client.upload_part(**_key(whole.uri), UploadId=upload, PartNumber=1, Body=content[: 5 << 20])
    assert store.read(whole.uri) is None
    assert not store.intact(whole)
    assert store.list(whole.uri.rpartition("/")[0]) == []
    assert store.get(store.put(content, "application/octet-stream")) == content
    store.remove(whole.uri)


def test_checkpoints_are_those_of_the_latest_epochs(store):
    for epoch in range(4):
        StoredCheckpoints(store, "train/key").save(epoch, b"epoch %d" % epoch)
    assert len(store.list("checkpoints/train/key")) == 2
    assert StoredCheckpoints(store, "train/key").load() == b"epoch 3"
    StoredCheckpoints(store, "train/key").clear()
    assert store.list("checkpoints/train/key") == []


def test_the_probe_leaves_nothing(server, store):
    require_room()
    assert "Contents" not in server.client.list_objects_v2(Bucket=BUCKET, Prefix="store/probe")


def test_expired_credentials_are_one_sentence_and_no_damage(server, store):
    stored = store.put(b"content", "application/json")
    server.state.expired = True
    try:
        with pytest.raises(OSError) as raised:
            store.intact(stored)
        assert str(disk_error(raised.value)).startswith(
            f"The store at {server.uri} cannot be written (The provided token has expired): see that it answers and"
        )
        with pytest.raises(DiskError, match="see that it answers and that its credentials are valid"):
            require_room()
        with pytest.raises(OSError, match="The provided token has expired"):
            store.list("jobs")
    finally:
        server.state.expired = False
    assert store.intact(stored)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://no-such-bucket/store", "The specified bucket does not exist"),
        ("nosuch://bucket/store", "Protocol not known: nosuch"),
    ],
)
def test_a_store_that_is_not_there_is_one_sentence(server, monkeypatch, uri, said):
    monkeypatch.setenv("STORE_URI", uri)
    with pytest.raises(DiskError, match="cannot be written") as raised:
        require_room()
    assert said in str(raised.value)


def test_one_that_does_not_answer_any_more_cannot_be_read_now(server):
    from tests.support.ports import free_port

    client = {"endpoint_url": f"http://127.0.0.1:{free_port()}"}
    store = Store.__new__(Store)
    store.filesystem, store.root = (
        fsspec.filesystem("s3", client_kwargs=client, config_kwargs={"retries": {"max_attempts": 1}}),
        f"{BUCKET}/store",
    )
    for ask in (lambda: store.read("a"), lambda: store.write("a", b""), lambda: store.list("a")):
        with pytest.raises(OSError, match="Could not connect to the endpoint"):
            ask()
