import numpy as np
import pytest

from models.errors import InputError
from models.vector_index import build, dump

KINDS = ("flat", "hnsw", "ivf")


def index_of(vectors, ids=None, labels=None, **chosen):
    ids = np.arange(len(vectors)) if ids is None else np.asarray(ids)
    labels = np.zeros(len(ids), dtype=np.int64) if labels is None else labels
    return build([(vectors, ids, labels)], encoder="e", **chosen)


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)


# --- search ---


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("k", [1, 5, 60])
def test_search_agrees_with_a_naive_loop(vectors, naive_search, k, metric):
    ids = np.random.default_rng(1).permutation(1000)[:60]
    queries = np.random.default_rng(2).normal(size=(25, 16))
    neighbours = index_of(vectors, ids, metric=metric).search(queries, k, encoder="e")
    assert neighbours.ids.dtype == np.int64
    assert neighbours.similarities.dtype == np.float32
    for row, query in enumerate(queries):
        expected_ids, expected_similarities = naive_search(vectors, ids, query, k, metric=metric)
        assert neighbours.ids[row].tolist() == expected_ids
        np.testing.assert_allclose(neighbours.similarities[row], expected_similarities, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_every_kind_agrees_with_a_naive_loop_on_few_vectors(clustered, naive_search, kind, metric):
    vectors, labels = clustered(300)
    ids = np.random.default_rng(1).permutation(1000)[:300]
    queries, _ = clustered(40, seed=5)
    neighbours = index_of(vectors, ids, labels, kind=kind, metric=metric).search(queries, 5, encoder="e")
    for row, query in enumerate(queries):
        _, expected = naive_search(vectors, ids, query, 5, metric=metric)
        np.testing.assert_allclose(neighbours.similarities[row], expected, atol=5e-3)  # float16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_cosine_of_any_neighbour_is_known_whatever_the_metric(vectors, kind, metric):
    ids = np.random.default_rng(1).permutation(1000)[:60]
    queries = np.random.default_rng(2).normal(size=(25, 16))
    index = index_of(vectors, ids, kind=kind, metric=metric)
    found = index.search(queries, 5, encoder="e")
    assert found.metric == metric
    near = vectors[[[ids.tolist().index(one) for one in row] for row in found.ids]]
    lengths = np.linalg.norm(near, axis=2) * np.linalg.norm(queries, axis=1)[:, None]
    expected = np.einsum("qd,qkd->qk", queries, near) / lengths
    np.testing.assert_allclose(index.cosines(queries, found.ids), expected, atol=1e-6 if kind == "flat" else 2e-3)


def test_a_cosine_is_written_as_it_is_and_a_distance_without_its_sign(vectors):
    queries = np.concatenate([vectors[:1], -vectors[:1]])
    for metric, expected in (("cosine", "1.000"), ("l2", "0.000")):
        assert index_of(vectors, metric=metric).search(queries, 1, encoder="e").closeness(0, 0) == expected
    far = index_of(vectors, metric="l2").search(queries, 60, encoder="e")
    assert float(far.closeness(1, 59)) == pytest.approx(np.linalg.norm(vectors + vectors[0], axis=1).max(), abs=1e-3)
    assert index_of(vectors).search(queries, 60, encoder="e").closeness(1, 59) == "-1.000"


@pytest.mark.parametrize("kind", KINDS)
def test_the_query_is_left_out_by_its_id_and_its_duplicates_stay(vectors, kind):
    vectors[7] = vectors[3] * 2  # the same direction
    vectors[50] = vectors[3]
    ids = np.arange(60)[::-1].copy()  # places and ids differ
    neighbours = index_of(vectors, ids, kind=kind).search(vectors, 59, encoder="e", exclude=ids)
    for row in range(60):
        assert sorted(neighbours.ids[row]) == sorted(set(ids.tolist()) - {int(ids[row])})
    assert set(neighbours.ids[3, :2].tolist()) == {int(ids[7]), int(ids[50])}
    np.testing.assert_allclose(neighbours.similarities[3, :2], 1, atol=1e-6 if kind == "flat" else 1e-3)  # float16


def test_an_id_that_the_index_does_not_hold_excludes_nothing(vectors):
    index = index_of(vectors)
    asked = index.search(vectors[:4], 60, encoder="e", exclude=np.array([100, -1, 102, 103]))
    assert asked.ids.tolist() == index.search(vectors[:4], 60, encoder="e").ids.tolist()


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("queries", [1, 300, 5000])
@pytest.mark.parametrize("k", [1, 3, 30])
def test_equal_similarities_are_ordered_by_id_even_beyond_the_cut(queries, k, metric):
    # At this size a product through BLAS gives these equal vectors unequal cosines.
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.normal(size=(1, 512)), 50, axis=0)
    ids = generator.permutation(50)
    neighbours = index_of(vectors, ids, metric=metric).search(generator.normal(size=(queries, 512)), k, encoder="e")
    np.testing.assert_array_equal(neighbours.ids, np.tile(np.arange(k), (queries, 1)))


def test_only_queries_with_ties_search_on_and_the_others_keep_their_answer(vectors, naive_search):
    vectors[20:45] = vectors[20]
    ids = np.random.default_rng(3).permutation(60)
    neighbours = index_of(vectors, ids).search(vectors, 4, encoder="e", exclude=ids)
    for row in range(60):
        assert neighbours.ids[row].tolist() == naive_search(vectors, ids, vectors[row], 4, own=ids[row])[0]


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_every_kind_orders_equal_similarities_by_id(clustered, kind):
    vectors, _ = clustered(200)
    vectors[[10, 60, 110, 160]] = vectors[10]
    ids = np.arange(200)[::-1].copy()
    neighbours = index_of(vectors, ids, kind=kind).search(vectors[[10]], 3, encoder="e")
    assert neighbours.ids[0].tolist() == sorted(ids[[10, 60, 110, 160]])[:3]


def test_ties_are_broken_by_id_after_the_own_id_is_left_out():
    ids = np.array([4, 2, 0, 1, 3])
    neighbours = index_of(np.ones((5, 3)), ids).search(np.ones((5, 3)), 2, encoder="e", exclude=ids)
    assert neighbours.ids.tolist() == [[0, 1], [0, 1], [1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize(("k", "exclude"), [(0, None), (4, None), (3, np.array([2]))])
def test_more_neighbours_than_there_are_is_refused(k, exclude):
    with pytest.raises(InputError, match=f"k = {k} .* choose k from 1 to"):
        index_of(np.eye(3)).search(np.ones((1, 3)), k, encoder="e", exclude=exclude)


def test_queries_of_other_dimensions_or_another_encoder_are_refused():
    index = index_of(np.eye(3))
    with pytest.raises(InputError, match="4 dimensions and the index 3"):
        index.search(np.ones((1, 4)), 1, encoder="e")
    with pytest.raises(InputError, match="queries come from the encoder 'f' and the index from 'e'"):
        index.search(np.ones((1, 3)), 1, encoder="f")


# --- filters ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.9])
def test_only_allowed_ids_are_found_and_always_k(clustered, naive_search, kind, share):
    vectors, labels = clustered(2000)
    ids = np.random.default_rng(1).permutation(5000)[:2000]
    allowed = np.random.default_rng(2).choice(ids, int(share * 2000), replace=False)
    queries, _ = clustered(20, seed=5)
    index = index_of(vectors, ids, labels, kind=kind)
    neighbours = index.search(queries, 10, encoder="e", allowed=np.append(allowed, 6000))
    found = 0
    for row, query in enumerate(queries):
        assert set(neighbours.ids[row].tolist()) <= set(allowed.tolist())
        assert len(set(neighbours.ids[row].tolist())) == 10
        found += len(set(naive_search(vectors, ids, query, 10, allowed=set(allowed))[0]) & set(neighbours.ids[row]))
    assert found / 200 >= (1 if kind == "flat" else 0.95)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_as_many_as_asked_for_are_found_where_the_usual_effort_does_not_reach_them(clustered, kind):
    vectors, _ = clustered(4000)
    vectors[:2000] = vectors[0]  # one point, whose copies a graph links to each other
    index = index_of(vectors, kind=kind)
    neighbours = index.search(vectors[[0, 3000]], 3900, encoder="e")
    assert neighbours.ids.min() >= 0
    assert [len(set(row)) for row in neighbours.ids.tolist()] == [3900, 3900]


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_far_from_the_query_is_found_whole(clustered, kind):
    vectors, labels = clustered(2000)
    index = index_of(vectors, labels=labels, kind=kind)
    for label in (3, 11):
        chosen = index.ids[index.labels == label]
        other = vectors[labels != label][:5]
        neighbours = index.search(other, len(chosen), encoder="e", allowed=chosen)
        assert np.sort(neighbours.ids, axis=1).tolist() == [sorted(chosen)] * 5


def test_the_excluded_id_counts_only_where_it_is_allowed():
    index = index_of(np.eye(4))
    allowed = np.array([0, 1])
    assert index.search(np.eye(4)[:1], 2, encoder="e", exclude=np.array([3]), allowed=allowed).ids.tolist() == [[0, 1]]
    assert index.search(np.eye(4)[:1], 1, encoder="e", exclude=np.array([0]), allowed=allowed).ids.tolist() == [[1]]
    with pytest.raises(InputError, match="can give a query 1"):
        index.search(np.eye(4)[:1], 2, encoder="e", exclude=np.array([0]), allowed=allowed)
    with pytest.raises(InputError, match="can give a query 0; allow more ids"):
        index.search(np.eye(4)[:1], 1, encoder="e", allowed=np.array([9]))


# --- add ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_has_grown_answers_as_the_vectors_it_holds(clustered, naive_search, kind):
    vectors, labels = clustered(400)
    ids = np.random.default_rng(1).permutation(1000)[:400]
    index = index_of(vectors[:300], ids[:300], labels[:300], kind=kind)
    index.add(vectors[300:398], ids[300:398], labels[300:398], encoder="e")
    index.add(vectors[398:], ids[398:], np.array([70, 71]), encoder="e")
    assert len(index) == 400
    assert index.ids.tolist() == ids.tolist()
    assert index.labels.tolist() == [*labels[:398], 70, 71]
    neighbours = index.search(vectors, 5, encoder="e")
    for row in range(0, 400, 20):
        _, expected = naive_search(vectors, ids, vectors[row], 5)
        np.testing.assert_allclose(neighbours.similarities[row], expected, atol=5e-3)
    assert sorted(index.search(vectors[:2], 400, encoder="e").ids[0]) == sorted(ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ({"ids": np.array([100, 59])}, "already holds id 59"),
        ({"ids": np.array([100, 100])}, "ids .* repeat"),
        ({"ids": np.array([100, -1])}, "negative"),
        ({"ids": np.array([100])}, r"ids of shape \(1,\)"),
        ({"labels": np.zeros(3)}, r"labels of shape \(3,\)"),
        ({"vectors": np.zeros((2, 16))}, "all zeros"),
        ({"vectors": np.ones((2, 15))}, "15 dimensions"),
        ({"encoder": "f"}, "vectors come from .* 'f'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_lost(vectors, kind, new, sentence):
    index = index_of(vectors, kind=kind)
    before = dump(index)
    fitting = {"vectors": np.ones((2, 16)), "ids": np.array([100, 101]), "labels": np.zeros(2), "encoder": "e"}
    with pytest.raises(InputError, match=sentence):
        index.add(**(fitting | new))
    assert dump(index) == before
    assert index.search(vectors, 1, encoder="e").ids.ravel().tolist() == list(range(60))


def test_the_bytes_follow_every_part_of_the_content(vectors):
    index = index_of(vectors)
    assert dump(index_of(vectors)) == dump(index)
    grown = index_of(vectors[:59])
    grown.add(vectors[59:], np.array([59]), np.array([0]), encoder="e")
    assert dump(grown) == dump(index)
    others = [
        index_of(np.roll(vectors, 1, axis=0), ids=np.roll(np.arange(60), 1)),  # the same vectors in another order
        index_of(vectors, ids=np.arange(1, 61)),
        index_of(vectors, labels=np.ones(60)),
        index_of(-vectors),
        index_of(vectors, metric="l2"),
        build([(vectors, np.arange(60), np.zeros(60))], encoder="f"),
    ]
    assert len({dump(each) for each in (index, *others)}) == 7
