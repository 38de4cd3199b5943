import numpy as np
import pytest

from models.errors import InputError
from models.vector_index import build, ivf, recall_at


@pytest.fixture
def shards(clustered):
    vectors, labels = clustered(2000, dimension=32)
    ids = np.random.default_rng(1).permutation(5000)[:2000]
    return [(vectors[at : at + 300], ids[at : at + 300], labels[at : at + 300]) for at in range(0, 2000, 300)]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_flat_index_finds_all_in_one_shard_or_many(shards, metric):
    index = build(shards, encoder="e", kind="flat", metric=metric)
    whole = tuple(np.concatenate(parts) for parts in zip(*shards, strict=True))
    assert recall_at(index, shards) == recall_at(index, [whole]) == 1


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_the_others_find_most(shards, kind, metric):
    assert recall_at(build(shards, encoder="e", kind=kind, metric=metric), shards) >= 0.95


def test_recall_is_what_a_loop_counts(shards, naive_search, monkeypatch):
    index = build(shards, encoder="e", kind="ivf")
    monkeypatch.setattr(ivf, "NPROBE", 1)
    measured = recall_at(index, shards, k=5, queries=2000)
    vectors, ids = np.concatenate([shard[0] for shard in shards]), np.concatenate([shard[1] for shard in shards])
    found = index.search(vectors, 5, encoder="e", exclude=ids).ids
    hits = [
        len(set(found[row].tolist()) & set(naive_search(vectors, ids, vectors[row], 5, own=ids[row])[0]))
        for row in range(0, 2000, 40)
    ]
    assert 0.3 < measured < 0.97
    assert measured == pytest.approx(np.mean(hits) / 5, abs=0.1)


def test_the_index_and_the_shards_must_fit(shards):
    index = build(shards, encoder="e")
    with pytest.raises(InputError, match="holds 2000 vectors and the shards 300"):
        recall_at(index, shards[:1])
    with pytest.raises(InputError, match="choose k from 1 to 1999"):
        recall_at(index, shards, k=2000)
