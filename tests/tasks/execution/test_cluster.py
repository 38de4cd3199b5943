from types import SimpleNamespace

import pytest
from distributed import CancelledError, KilledWorker
from distributed.client import ClosedClientError, FutureCancelledError

from models.errors import InputError
from tasks.execution.cluster import cluster_error
from tasks.execution.plain_words import in_plain_words

GONE = "The scheduler of the Dask cluster is gone"
KEPT = "what was finished is kept, and the next run goes on from there."
DIED = KilledWorker("embed_shard-1", SimpleNamespace(address="tcp://127.0.0.1:1"), 3)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            FutureCancelledError("embed_shard-1", "scheduler-connection-lost"),
            GONE,
        ),
        (ClosedClientError("Client is closed"), GONE),
        (CancelledError(), GONE),
        (
            KilledWorker("embed_shard-1", SimpleNamespace(address="tcp://127.0.0.1:1"), 3),
            "4 workers of the Dask cluster",
        ),
    ],
)
def test_what_becomes_of_a_cluster_is_a_sentence(outputs, error, sentence):
    @in_plain_words
    def fail():
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("a library's words") from cause

    with pytest.raises(InputError, match=f"^{sentence}.*{KEPT}$"):
        fail()


def test_other_errors_are_no_clusters():
    assert cluster_error(ValueError("a bug")) is None
    assert cluster_error(ConnectionRefusedError("the tracker's")) is None
