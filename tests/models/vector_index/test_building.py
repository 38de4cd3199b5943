import numpy as np
import pytest

from models.errors import InputError
from models.vector_index import build, building, dump, ivf, kinds


def cut(vectors, ids, labels, size):
    return [(vectors[at : at + size], ids[at : at + size], labels[at : at + size]) for at in range(0, len(ids), size)]


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_shards_make_an_index_of_all_their_vectors(clustered, naive_search, kind):
    vectors, labels = clustered(1000)
    ids = np.random.default_rng(1).permutation(3000)[:1000]
    index = build(cut(vectors, ids, labels, 130), encoder="e", kind=kind)
    assert index.ids.tolist() == ids.tolist()
    assert index.labels.tolist() == labels.tolist()
    queries, _ = clustered(30, seed=5)
    found = index.search(queries, 10, encoder="e").ids
    true = [naive_search(vectors, ids, query, 10)[0] for query in queries]
    assert np.mean([len(set(ours) & set(theirs)) / 10 for ours, theirs in zip(found, true, strict=True)]) >= 0.98


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_the_same_shards_make_the_same_bytes(clustered, kind):
    vectors, labels = clustered(1000)
    shards = cut(vectors, np.arange(1000), labels, 300)
    assert dump(build(shards, encoder="e", kind=kind)) == dump(build(shards, encoder="e", kind=kind))


def test_the_lists_are_as_many_as_the_draw_can_place(clustered):
    vectors, labels = clustered(6400)
    index = build([(vectors, np.arange(6400), labels)], encoder="e", kind="ivf")
    assert index.structure.index.nlist == 160
    few = build([(vectors[:30], np.arange(30), labels[:30])], encoder="e", kind="ivf")
    assert few.structure.index.nlist == 1


@pytest.mark.parametrize(("bound", "nlist"), [(ivf.TRAINING_VECTORS, 800), (2000, 50)])  # 4 √40 000, 2000 / 40
def test_k_means_sees_a_bounded_draw_of_shards_that_are_made_as_they_are_read(bound, nlist, monkeypatch):
    class Shards:
        def __init__(self):
            self.started = 0

        def __iter__(self):
            self.started += 1
            for start in range(0, 40_000, 8000):
                ids = np.arange(start, start + 8000)
                yield np.random.default_rng(start).normal(size=(8000, 2)).astype(np.float32), ids, ids % 2

    shards = Shards()
    monkeypatch.setattr(building, "TRAINING_VECTORS", bound)
    index = build(shards, encoder="e", kind="ivf")
    assert len(index) == 40_000
    assert index.structure.index.nlist == nlist
    assert shards.started == 3  # counted, drawn from, added


@pytest.mark.parametrize(
    ("size", "kind"),
    [(1, "flat"), (100_000, "flat"), (100_001, "hnsw"), (2_000_000, "hnsw"), (2_000_001, "ivf")],
)
def test_the_kind_follows_from_the_size(size, kind):
    assert kinds.choose_kind(size) == kind


def test_the_kind_is_chosen_by_the_size(clustered, monkeypatch):
    vectors, labels = clustered(300)
    monkeypatch.setattr(kinds, "FLAT_LIMIT", 100)
    monkeypatch.setattr(kinds, "HNSW_LIMIT", 200)
    for size, kind in ((100, "flat"), (200, "hnsw"), (201, "ivf")):
        assert build(cut(vectors[:size], np.arange(size), labels[:size], 64), encoder="e").kind == kind


@pytest.mark.parametrize(
    ("shards", "sentence"),
    [
        ([], "no vectors"),
        ([(np.eye(3), np.arange(3), np.arange(3)), (np.eye(3), np.arange(2, 5), np.arange(3))], "already holds id 2"),
        ([(np.eye(3), np.array([0, 1, 1]), np.arange(3))], "repeat"),
        ([(np.eye(3) * np.nan, np.arange(3), np.arange(3))], "Vector 0 holds NaN"),
    ],
)
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_shards_that_do_not_fit_are_refused(shards, sentence, kind):
    with pytest.raises(InputError, match=sentence):
        build(shards, encoder="e", kind=kind)
