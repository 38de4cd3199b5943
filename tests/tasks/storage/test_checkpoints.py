import tempfile
from pathlib import Path

import pytest

from tasks.storage.checkpoints import StoredCheckpoints
from tasks.storage.store import Store
from tests.tasks.storage import test_store
from tests.tasks.storage.test_store import unreadable

store = test_store.store  # its fixture


def test_checkpoints_keep_the_two_latest_and_skip_a_damaged_one(store):
    checkpoints = StoredCheckpoints(store, "train/key")
    assert checkpoints.load() is None
    for epoch in (1, 2, 10):
        checkpoints.save(epoch, f"epoch {epoch}".encode())
    names = store.list("checkpoints/train/key")
    assert len(names) == 2
    assert checkpoints.load() == b"epoch 10"
    store.write(names[-1], b"torn")
    assert checkpoints.load() == b"epoch 2"
    assert StoredCheckpoints(store, "train/other").load() is None
    checkpoints.clear()
    assert checkpoints.load() is None


def test_a_checkpoint_that_cannot_be_read_now_is_not_passed_over():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = Store(folder)
        checkpoints = StoredCheckpoints(store, "job")
        checkpoints.save(1, b"first")
        with unreadable(Path(folder) / store.list("checkpoints/job")[0]), pytest.raises(PermissionError):
            checkpoints.load()
        assert checkpoints.load() == b"first"
