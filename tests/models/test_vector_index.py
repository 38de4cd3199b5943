import faiss
import numpy as np
import pytest

from models.errors import InputError
from models.vector_index import build_flat, dump, load, normalize, search


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)


def naive_search(vectors, ids, query, k, own=None):
    """Cosines in float64, sorted by falling cosine, then id."""
    found = []
    for vector, number in zip(vectors.astype(float), ids, strict=True):
        if number == own:
            continue
        cosine = float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query))
        found.append((-round(cosine, 6), int(number), cosine))
    found.sort()
    return [number for _, number, _ in found[:k]], [cosine for _, _, cosine in found[:k]]


def test_normalized_vectors_have_length_one_and_keep_their_direction(vectors):
    unit = normalize(vectors * 1e-12)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit.astype(float), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(vectors, axis=1, keepdims=True), vectors, rtol=1e-5)


def test_normalizing_survives_lengths_beyond_float32():
    np.testing.assert_allclose(normalize([[3e30, 4e30]]), [[0.6, 0.8]], rtol=1e-6)


def test_whole_numbers_are_normalized():
    np.testing.assert_allclose(normalize(np.array([[3, 4]], dtype=np.uint8)), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], "Vector 1 is all zeros"),
        ([[np.nan, 1.0], [1.0, 0.0]], "Vector 0 holds NaN or infinity"),
        ([[1.0, 0.0], [np.inf, 1.0]], "Vector 1 holds NaN or infinity"),
        ([1.0, 2.0], r"shape \(2,\)"),
    ],
)
def test_what_has_no_direction_is_refused(rows, sentence):
    with pytest.raises(InputError, match=sentence):
        normalize(rows)


@pytest.mark.parametrize("ids", [[0, 1], [0, 1, 1], [-1, 0, 1]])
def test_ids_that_do_not_name_the_vectors_are_refused(ids):
    with pytest.raises(InputError, match="ids"):
        build_flat(np.eye(3), np.array(ids))


def test_an_empty_index_is_refused():
    with pytest.raises(InputError, match="no vectors"):
        build_flat(np.empty((0, 4)), np.empty(0, dtype=np.int64))


@pytest.mark.parametrize("k", [1, 5, 60])
def test_search_agrees_with_a_naive_loop(vectors, k):
    ids = np.random.default_rng(1).permutation(1000)[:60]
    queries = np.random.default_rng(2).normal(size=(25, 16))
    neighbours = search(build_flat(vectors, ids), queries, k)
    assert neighbours.ids.dtype == np.int64
    assert neighbours.similarities.dtype == np.float32
    for row, query in enumerate(queries):
        expected_ids, expected_similarities = naive_search(vectors, ids, query, k)
        assert neighbours.ids[row].tolist() == expected_ids
        np.testing.assert_allclose(neighbours.similarities[row], expected_similarities, atol=1e-6)


def test_the_query_is_left_out_by_its_id_and_its_duplicates_stay(vectors):
    vectors[7] = vectors[3] * 2  # the same direction
    vectors[50] = vectors[3]
    ids = np.arange(60)[::-1].copy()  # places and ids differ
    neighbours = search(build_flat(vectors, ids), vectors, 59, exclude=ids)
    for row in range(60):
        assert sorted(neighbours.ids[row]) == sorted(set(ids.tolist()) - {int(ids[row])})
    assert set(neighbours.ids[3, :2].tolist()) == {int(ids[7]), int(ids[50])}
    np.testing.assert_allclose(neighbours.similarities[3, :2], 1, atol=1e-6)


def test_an_id_that_the_index_does_not_hold_excludes_nothing(vectors):
    index = build_flat(vectors, np.arange(60))
    asked = search(index, vectors[:4], 60, exclude=np.array([100, 101, 102, 103]))
    assert asked.ids.tolist() == search(index, vectors[:4], 60).ids.tolist()


@pytest.mark.parametrize("queries", [1, 300])
@pytest.mark.parametrize("k", [1, 3, 30])
def test_equal_similarities_are_ordered_by_id_even_beyond_the_cut(queries, k):
    # At this size a product through BLAS gives these equal vectors unequal cosines.
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.normal(size=(1, 512)), 50, axis=0)
    ids = generator.permutation(50)
    neighbours = search(build_flat(vectors, ids), generator.normal(size=(queries, 512)), k)
    np.testing.assert_array_equal(neighbours.ids, np.tile(np.arange(k), (queries, 1)))


def test_ties_are_broken_by_id_after_the_own_id_is_left_out():
    vectors = np.ones((5, 3))
    ids = np.array([4, 2, 0, 1, 3])
    neighbours = search(build_flat(vectors, ids), vectors, 2, exclude=ids)
    assert neighbours.ids.tolist() == [[0, 1], [0, 1], [1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize(("k", "exclude"), [(0, None), (4, None), (3, np.array([2]))])
def test_more_neighbours_than_there_are_is_refused(k, exclude):
    with pytest.raises(InputError, match=f"k = {k} .* choose k from 1 to"):
        search(build_flat(np.eye(3), np.arange(3)), np.ones((1, 3)), k, exclude=exclude)


def test_queries_of_another_model_are_refused():
    with pytest.raises(InputError, match="4 dimensions and the index 3"):
        search(build_flat(np.eye(3), np.arange(3)), np.ones((1, 4)), 1)


def test_a_dumped_index_is_the_same_after_loading(vectors):
    index = build_flat(vectors, np.arange(100, 160))
    content = dump(index)
    assert content == dump(build_flat(vectors, np.arange(100, 160)))
    before, after = search(index, vectors, 7), search(load(content), vectors, 7)
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.similarities, after.similarities)


def test_faiss_itself_reads_a_dumped_index(vectors, tmp_path):
    path = tmp_path / "index.faiss"
    path.write_bytes(dump(build_flat(vectors, np.arange(60))))
    assert faiss.read_index(str(path)).ntotal == 60


def test_a_damaged_index_is_refused(vectors):
    content = dump(build_flat(vectors, np.arange(60)))
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", b"junk", content[:-1], content[: len(content) // 2], bytes(flipped), content + b"x"):
        with pytest.raises(InputError, match="damaged"):
            load(damaged)


def test_another_kind_of_index_is_refused(vectors):
    other = faiss.IndexFlatL2(16)
    other.add(vectors)
    with pytest.raises(InputError, match="IndexFlat"):
        load(dump(other))
