import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from models.errors import InputError
from tasks.retrieval.ranking import RankingResult, evaluate, means, summarize
from tasks.shared.bootstrap import mean_interval


def naive(queries, query_labels, gallery, gallery_labels, query_ids, gallery_ids, k_values):
    """Rank for one query after the other, and count along the ranking."""
    precision, hit, average_precision = {k: [] for k in k_values}, {k: [] for k in k_values}, []
    for query, label, own in zip(queries.astype(float), query_labels, query_ids, strict=True):
        ranking = []
        for place, item in enumerate(gallery.astype(float)):
            if gallery_ids[place] != own:
                cosine = float(query @ item / np.linalg.norm(query) / np.linalg.norm(item))
                ranking.append((-round(cosine, 6), place))
        relevant = [gallery_labels[place] == label for _, place in sorted(ranking)]
        for k in k_values:
            precision[k].append(sum(relevant[:k]) / k)
            hit[k].append(float(any(relevant[:k])))
        found, total = 0, 0.0
        for rank, is_relevant in enumerate(relevant, start=1):
            if is_relevant:
                found += 1
                total += found / rank
        average_precision.append(total / found if found else float("nan"))
    return precision, hit, average_precision


def assert_equal_to_naive(*arguments):
    result = evaluate(*arguments)
    precision, hit, average_precision = naive(*arguments)
    for k in arguments[-1]:
        np.testing.assert_allclose(result.precision_at[k], precision[k])
        np.testing.assert_allclose(result.hit_at[k], hit[k])
    np.testing.assert_allclose(result.average_precision, average_precision, rtol=1e-12)
    return result


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def leave_one_out(vectors, labels, k_values, ids=None):
    ids = np.arange(len(vectors)) if ids is None else ids
    return evaluate(vectors, labels, vectors, labels, ids, ids, k_values)


def test_hand_placed_points():
    # From 0°, the others come at 10° (same), 25° (other), 45° (same), 70° (other).
    vectors = on_circle(0, 10, 25, 45, 70)
    labels = np.array([0, 0, 1, 0, 1])
    result = leave_one_out(vectors, labels, [1, 2, 4])
    assert result.precision_at[1][0] == 1
    assert result.precision_at[2][0] == 0.5
    assert result.precision_at[4][0] == 0.5
    assert result.average_precision[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    # From 70°: 45° (other), 25° (same), 10° (other), 0° (other).
    assert result.precision_at[1][4] == 0
    assert (result.hit_at[1][4], result.hit_at[2][4]) == (0, 1)
    assert result.average_precision[4] == pytest.approx(1 / 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_leave_one_out_agrees_with_a_naive_loop(dtype):
    generator = np.random.default_rng(0)
    vectors = (100 * generator.normal(size=(150, 12))).astype(dtype)  # more than one block of queries
    labels = generator.integers(0, 2, 150)
    ids = generator.permutation(500)[:150]
    assert_equal_to_naive(vectors, labels, vectors, labels, ids, ids, [1, 5, 10, 149])


def test_another_gallery_agrees_with_a_naive_loop():
    generator = np.random.default_rng(1)
    queries, gallery = generator.normal(size=(40, 8)), generator.normal(size=(70, 8))
    labels, gallery_labels = generator.integers(0, 2, 40), generator.integers(0, 2, 70)
    assert_equal_to_naive(queries, labels, gallery, gallery_labels, np.arange(40), np.arange(100, 170), [1, 5, 70])


def test_average_precision_agrees_with_scikit_learn():
    generator = np.random.default_rng(2)
    vectors, labels = generator.normal(size=(90, 16)), generator.integers(0, 2, 90)
    result = leave_one_out(vectors, labels, [1])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in range(90):
        others = np.arange(90) != query
        expected = average_precision_score((labels == labels[query])[others], (unit @ unit[query])[others])
        assert result.average_precision[query] == pytest.approx(expected, abs=1e-6)


def test_ties_keep_the_order_of_the_gallery():
    # Few distinct directions, so that almost everything ties; scaled copies tie as well.
    generator = np.random.default_rng(3)
    vectors = on_circle(0, 30, 60)[generator.integers(0, 3, 140)] * generator.choice([1.0, 2.0, 8.0], size=(140, 1))
    labels = generator.integers(0, 2, 140)
    ids = generator.permutation(140)
    assert_equal_to_naive(vectors, labels, vectors, labels, ids, ids, [1, 3, 10])


def test_identical_vectors_of_any_dimension_tie():
    # Products in float32 differ in the last bits with the place of a vector, and would shuffle these.
    generator = np.random.default_rng(4)
    gallery = np.repeat(generator.normal(size=(1, 100)), 333, axis=0).astype(np.float32)
    queries = generator.normal(size=(100, 100)).astype(np.float32)
    labels = np.zeros(100, dtype=int)
    gallery_labels = (np.arange(333) % 3 > 0).astype(int)  # the first of every three is relevant
    result = evaluate(queries, labels, gallery, gallery_labels, np.arange(100), np.arange(100, 433), [4])
    np.testing.assert_array_equal(result.precision_at[4], 0.5)
    assert len(set(result.average_precision)) == 1


def test_the_query_is_removed_by_id_and_not_by_rank():
    vectors = on_circle(0, 0, 90, 91)  # the first two are duplicates
    result = leave_one_out(vectors, np.array([0, 1, 1, 1]), [1])
    # Were the first rank dropped instead, one of the duplicates would keep itself as its neighbour.
    assert result.precision_at[1].tolist() == [0, 0, 1, 1]
    assert leave_one_out(vectors, np.array([0, 0, 1, 1]), [1]).precision_at[1].tolist() == [1, 1, 1, 1]


def test_the_query_is_removed_wherever_the_gallery_holds_it():
    generator = np.random.default_rng(5)
    vectors, labels = generator.normal(size=(60, 6)), generator.integers(0, 2, 60)
    ids = generator.permutation(1000)[:60]
    shuffled = generator.permutation(60)
    straight = evaluate(vectors, labels, vectors, labels, ids, ids, [1, 5])
    other = evaluate(vectors, labels, vectors[shuffled], labels[shuffled], ids, ids[shuffled], [1, 5])
    np.testing.assert_array_equal(straight.precision_at[5], other.precision_at[5])
    np.testing.assert_allclose(straight.average_precision, other.average_precision)
    assert straight.mean_precision(1) < 1


def test_only_queries_that_the_gallery_holds_lose_an_item():
    generator = np.random.default_rng(6)
    vectors, labels = generator.normal(size=(30, 5)), generator.integers(0, 2, 30)
    gallery = slice(10, 30)
    ids = np.arange(30)
    assert_equal_to_naive(vectors, labels, vectors[gallery], labels[gallery], ids, ids[gallery], [1, 5, 19])


def test_a_query_without_relevant_items_is_counted_and_left_out_of_the_mean():
    gallery = on_circle(0, 20, 40)
    queries = on_circle(5, 50, 30)
    result = evaluate(queries, np.array([0, 1, 0]), gallery, np.zeros(3, dtype=int), np.arange(3), np.arange(3, 6), [2])
    assert result.average_precision[[0, 2]].tolist() == [1, 1]
    assert np.isnan(result.average_precision[1])
    assert result.without_relevant == 1
    assert result.mean_average_precision() == 1
    assert np.isnan(result.mean_average_precision(1))
    assert result.precision_at[2].tolist() == [1, 0, 1]
    assert result.hit_at[2].tolist() == [1, 0, 1]


def test_the_only_member_of_a_class_has_nothing_to_find():
    result = leave_one_out(on_circle(0, 20, 40), np.array([0, 0, 1]), [1, 2])
    assert result.without_relevant == 1
    assert np.isnan(result.average_precision[2])


def test_a_gallery_of_one_class_is_all_right():
    result = leave_one_out(np.random.default_rng(7).normal(size=(20, 4)), np.ones(20, dtype=int), [1, 19])
    np.testing.assert_allclose(result.average_precision, 1)
    assert result.mean_precision(19) == 1
    assert np.isnan(result.mean_precision(1, label=0))


@pytest.mark.parametrize("k", [0, 5])
def test_a_cutoff_beyond_the_ranking_is_refused(k):
    with pytest.raises(InputError, match=f"k = {k} .* 4 items"):
        leave_one_out(np.eye(5), np.zeros(5, dtype=int), [1, k])


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        evaluate(np.eye(3), np.zeros(1, dtype=int), np.eye(3), np.zeros(3, dtype=int), np.arange(3), np.arange(3), [1])


def test_means_by_class():
    nan = float("nan")
    result = RankingResult(
        query_ids=np.arange(4),
        query_labels=np.array([0, 0, 1, 1]),
        precision_at={5: np.array([0.2, 0.4, 1.0, 0.6])},
        hit_at={5: np.array([0.0, 1.0, 1.0, 1.0])},
        average_precision=np.array([0.1, 0.3, nan, 0.5]),
    )
    assert result.mean_precision(5) == pytest.approx(0.55)
    assert result.mean_precision(5, 0) == pytest.approx(0.3)
    assert result.mean_hit(5, 0) == 0.5
    assert result.mean_average_precision() == pytest.approx(0.3)
    assert result.mean_average_precision(1) == 0.5
    assert means(result, "loo") == pytest.approx(
        {
            "loo/precision_at_5": 0.55,
            "loo/map": 0.3,
            "loo/map_normal": 0.2,
            "loo/map_pneumonia": 0.5,
            "loo/hit_at_5": 0.75,
        }
    )


def test_the_summary_has_the_agreed_names_and_intervals():
    generator = np.random.default_rng(8)
    labels = generator.integers(0, 2, 80)
    result = leave_one_out(generator.normal(size=(80, 4)) + labels[:, None], labels, [1, 5, 10])
    metrics = summarize(result, "loo", samples=300, seed=0)
    names = ["precision_at_1", "precision_at_5", "precision_at_10", "map", "map_normal", "map_pneumonia", "hit_at_5"]
    for name in names:
        assert metrics[f"loo/{name}_ci_low"] <= metrics[f"loo/{name}"] <= metrics[f"loo/{name}_ci_high"]
        assert metrics[f"loo/{name}_ci_low"] < metrics[f"loo/{name}_ci_high"] or name == "hit_at_5"
    assert metrics["loo/map_normal"] == pytest.approx(result.average_precision[labels == 0].mean())
    expected = mean_interval(result.precision_at[5], 300, 0)
    assert (metrics["loo/precision_at_5_ci_low"], metrics["loo/precision_at_5_ci_high"]) == expected


def test_the_summary_leaves_out_what_is_undefined():
    result = leave_one_out(np.random.default_rng(9).normal(size=(10, 3)), np.ones(10, dtype=int), [1])
    metrics = summarize(result, "loo", samples=50, seed=0)
    assert "loo/map_pneumonia" in metrics
    assert not [name for name in metrics if "normal" in name]
    assert np.isfinite(list(metrics.values())).all()
