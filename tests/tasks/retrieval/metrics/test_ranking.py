import sys
import tracemalloc
import types

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from models.errors import InputError
from tasks.retrieval.metrics.ranking import RankingResult, count_relevant, evaluate, means, summarize
from tasks.shared.bootstrap import mean_interval

NAMES = ("normal", "pneumonia")


def naive(queries, query_labels, gallery, gallery_labels, query_ids, gallery_ids, k_values):
    """Rank for one query after the other, and count along the ranking."""
    precision, hit = {k: [] for k in k_values}, {k: [] for k in k_values}
    r_precision, average_precision = [], []
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
        total = sum(relevant)
        r_precision.append(sum(relevant[:total]) / total if total else float("nan"))
        found, total = 0, 0.0
        for rank, is_relevant in enumerate(relevant, start=1):
            if is_relevant:
                found += 1
                total += found / rank
        average_precision.append(total / found if found else float("nan"))
    return precision, hit, r_precision, average_precision


def assert_equal_to_naive(*arguments):
    result = evaluate(*arguments)
    precision, hit, r_precision, average_precision = naive(*arguments)
    for k in arguments[-1]:
        np.testing.assert_allclose(result.values[f"precision_at_{k}"], precision[k])
        np.testing.assert_allclose(result.values[f"hit_at_{k}"], hit[k])
    np.testing.assert_allclose(result.values["r_precision"], r_precision)
    np.testing.assert_allclose(result.values["average_precision"], average_precision, rtol=1e-12)
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
    assert result.values["precision_at_1"][0] == 1
    assert result.values["precision_at_2"][0] == 0.5
    assert result.values["precision_at_4"][0] == 0.5
    assert result.values["r_precision"][0] == 0.5
    assert result.values["average_precision"][0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    # From 70°: 45° (other), 25° (same), 10° (other), 0° (other).
    assert result.values["precision_at_1"][4] == 0
    assert (result.values["hit_at_1"][4], result.values["hit_at_2"][4]) == (0, 1)
    assert result.values["r_precision"][4] == 0
    assert result.values["average_precision"][4] == pytest.approx(1 / 2)


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


def test_ranked_by_distance_it_agrees_with_a_naive_loop():
    generator = np.random.default_rng(6)
    queries, gallery = generator.normal(size=(30, 8)), generator.normal(size=(50, 8)) * generator.uniform(1, 9, (50, 1))
    gallery[7] = gallery[31]  # equally near: the order of the gallery decides
    queries[3] = gallery[7]
    labels, gallery_labels = generator.integers(0, 2, 30), generator.integers(0, 2, 50)
    own = generator.permutation(50)[:30]
    arguments = (queries, labels, gallery, gallery_labels, own, np.arange(50), [1, 5])
    result, differs = evaluate(*arguments, "l2"), evaluate(*arguments)
    for row in range(30):
        distances = [(round(float(np.linalg.norm(queries[row] - item)), 9), i) for i, item in enumerate(gallery)]
        order = [i for _, i in sorted(distances) if i != own[row]]
        relevant = gallery_labels[order] == labels[row]
        assert result.values["precision_at_5"][row] == relevant[:5].mean()
        ranks = np.flatnonzero(relevant) + 1
        assert result.values["average_precision"][row] == pytest.approx((np.arange(1, len(ranks) + 1) / ranks).mean())
    assert (result.values["average_precision"] != differs.values["average_precision"]).any()


def test_the_gain_of_grades_agrees_with_scikit_learn():
    random = np.random.default_rng(0)
    vectors, grades, ids = random.normal(size=(20, 4)), random.integers(0, 5, 20), np.arange(20)
    found = evaluate(vectors[:6], grades[:6], vectors, grades, ids[:6], ids, [3, 4], grades=5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in range(6):
        others = ids != query
        gains, cosines = 4.0 - np.abs(grades[query] - grades[others]), unit[others] @ unit[query]
        for k in (3, 4):
            assert found.values[f"ndcg_at_{k}"][query] == pytest.approx(ndcg_score([gains], [cosines], k=k))


def test_a_vector_of_the_opposite_direction_ranks_last():
    gallery, labels = on_circle(180, 90, 0), np.array([0, 0, 1])
    found = evaluate(on_circle(0), np.array([1]), gallery, labels, np.array([9]), np.arange(3), [1])
    assert found.values["precision_at_1"] == [1]


def test_zero_vectors_have_distances_though_no_direction():
    vectors, labels, ids = np.array([[0.0, 0], [0, 1], [3, 0]]), np.array([0, 0, 1]), np.arange(3)
    result = evaluate(vectors, labels, vectors, labels, ids, ids, [1], "l2")
    assert result.values["precision_at_1"].tolist() == [1, 1, 0]
    with pytest.raises(InputError, match="all zeros"):
        evaluate(vectors, labels, vectors, labels, ids, ids, [1])


def test_average_precision_agrees_with_scikit_learn():
    generator = np.random.default_rng(2)
    vectors, labels = generator.normal(size=(90, 16)), generator.integers(0, 2, 90)
    result = leave_one_out(vectors, labels, [1])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in range(90):
        others = np.arange(90) != query
        expected = average_precision_score((labels == labels[query])[others], (unit @ unit[query])[others])
        assert result.values["average_precision"][query] == pytest.approx(expected, abs=1e-6)


@pytest.fixture(scope="module")
def distinct():
    """Vectors of two overlapping classes among which no two cosines tie, so that every library ranks alike."""
    generator = np.random.default_rng(10)
    labels = np.repeat([0, 1], [25, 45])[generator.permutation(70)]
    return (generator.normal(size=(70, 16)) + 0.5 * labels[:, None]).astype(np.float32), labels


def test_figures_agree_with_ranx(distinct, monkeypatch):
    import numba

    # On a fresh machine ranx would be compiled for more than a minute, to score 70 queries.
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    import ranx

    vectors, labels = distinct
    result = leave_one_out(vectors, labels, [1, 5, 10])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit.astype(float) @ unit.T.astype(float)
    relevant, scores = {}, {}
    for query in range(70):
        others = [item for item in range(70) if item != query]  # ranx knows no self
        relevant[str(query)] = {str(item): 1 for item in others if labels[item] == labels[query]}
        scores[str(query)] = {str(item): cosines[query, item] for item in others}
    ours = {"map": result.values["average_precision"], "r-precision": result.values["r_precision"]}
    for k in (1, 5, 10):
        ours |= {f"precision@{k}": result.values[f"precision_at_{k}"], f"hit_rate@{k}": result.values[f"hit_at_{k}"]}
    run = ranx.Run(scores)
    ranx.evaluate(ranx.Qrels(relevant), run, list(ours), threads=1)
    for metric, values in ours.items():
        np.testing.assert_allclose([run.scores[metric][str(query)] for query in range(70)], values, err_msg=metric)


def test_figures_agree_with_pytorch_metric_learning(distinct, monkeypatch):
    import torch

    # It would replace the search of FAISS for the whole process by one of tensors, which knows no parameters.
    monkeypatch.setitem(sys.modules, "faiss.contrib.torch_utils", types.ModuleType("torch_utils"))
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    vectors, labels = distinct
    result = leave_one_out(vectors, labels, [1])
    # k=None ranks all items. With its k="max_bin_count" the average precision would stop after as many items as the
    # largest class has, and its `mean_average_precision_at_r` stops after R: neither is the full ranking meant here.
    metrics = ("precision_at_1", "r_precision", "mean_average_precision")
    calculator = AccuracyCalculator(
        include=metrics,
        k=None,
        return_per_class=True,
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity()),
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    theirs = calculator.get_accuracy(torch.from_numpy(unit), torch.from_numpy(labels))
    for label in (0, 1):
        ours = [result.mean(name, label) for name in ("precision_at_1", "r_precision", "average_precision")]
        assert [theirs[metric][label] for metric in metrics] == pytest.approx(ours)


def test_a_gallery_of_a_million_keeps_the_order_of_ties():
    # All at one angle but the last, which is nearest; relevant are the last, the fourth and the one before the last.
    gallery = np.tile(on_circle(30), (1_000_000, 1))
    gallery[-1] = on_circle(10)
    labels = np.ones(1_000_000, dtype=int)
    labels[[-1, 3, -2]] = 0
    result = evaluate(on_circle(0), np.zeros(1, dtype=int), gallery, labels, np.array([-1]), np.arange(10**6), [1, 5])
    assert (result.values["precision_at_1"][0], result.values["precision_at_5"][0]) == (1, 2 / 5)
    assert result.values["r_precision"][0] == pytest.approx(1 / 3)
    assert result.values["average_precision"][0] == pytest.approx((1 / 1 + 2 / 5 + 3 / 1_000_000) / 3)


def test_a_gallery_beyond_what_the_sorted_integer_holds_is_refused():
    many = np.broadcast_to(np.float32(1), (2**31 + 1, 1))  # takes no memory
    numbers = np.broadcast_to(np.int64(0), 2**31 + 1)
    with pytest.raises(InputError, match="at most 2147483648 can be ranked"):
        evaluate(np.ones((1, 1)), numbers[:1], many, numbers, numbers[:1], numbers, [1])


def test_many_queries_are_ranked_block_by_block_without_all_cosines_in_memory():
    generator = np.random.default_rng(11)
    vectors, labels = generator.normal(size=(4000, 8)).astype(np.float32), generator.integers(0, 2, 4000)
    tracemalloc.start()
    result = leave_one_out(vectors, labels, [1, 10])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 3
    # The figures do not depend on the block in which a query stood.
    few = generator.choice(4000, 50, replace=False)
    alone = evaluate(vectors[few], labels[few], vectors, labels, few, np.arange(4000), [1, 10])
    np.testing.assert_array_equal(result.values["precision_at_10"][few], alone.values["precision_at_10"])
    np.testing.assert_allclose(result.values["average_precision"][few], alone.values["average_precision"], rtol=1e-12)


def test_relevant_items_are_counted_by_class():
    gallery_labels = np.array([4, 1, 4, 1, 4, -2])
    assert count_relevant(np.array([4, 0, 1, -2, 9]), gallery_labels).tolist() == [3, 0, 2, 1, 0]


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
    np.testing.assert_array_equal(result.values["precision_at_4"], 0.5)
    assert len(set(result.values["average_precision"])) == 1


def test_the_query_is_removed_by_id_and_not_by_rank():
    vectors = on_circle(0, 0, 90, 91)  # the first two are duplicates
    result = leave_one_out(vectors, np.array([0, 1, 1, 1]), [1])
    # Were the first rank dropped instead, one of the duplicates would keep itself as its neighbour.
    assert result.values["precision_at_1"].tolist() == [0, 0, 1, 1]
    assert leave_one_out(vectors, np.array([0, 0, 1, 1]), [1]).values["precision_at_1"].tolist() == [1, 1, 1, 1]


def test_the_query_is_removed_wherever_the_gallery_holds_it():
    generator = np.random.default_rng(5)
    vectors, labels = generator.normal(size=(60, 6)), generator.integers(0, 2, 60)
    ids = generator.permutation(1000)[:60]
    shuffled = generator.permutation(60)
    straight = evaluate(vectors, labels, vectors, labels, ids, ids, [1, 5])
    other = evaluate(vectors, labels, vectors[shuffled], labels[shuffled], ids, ids[shuffled], [1, 5])
    np.testing.assert_array_equal(straight.values["precision_at_5"], other.values["precision_at_5"])
    np.testing.assert_allclose(straight.values["average_precision"], other.values["average_precision"])
    assert straight.mean("precision_at_1") < 1


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
    for values in (result.values["r_precision"], result.values["average_precision"]):
        assert values[[0, 2]].tolist() == [1, 1]
        assert np.isnan(values[1])
    assert result.without_relevant == 1
    assert result.mean("average_precision") == 1
    assert np.isnan(result.mean("average_precision", 1))
    assert result.values["precision_at_2"].tolist() == [1, 0, 1]
    assert result.values["hit_at_2"].tolist() == [1, 0, 1]


def test_the_only_member_of_a_class_has_nothing_to_find():
    result = leave_one_out(on_circle(0, 20, 40), np.array([0, 0, 1]), [1, 2])
    assert result.without_relevant == 1
    assert np.isnan(result.values["average_precision"][2])


def test_a_gallery_of_one_class_is_all_right():
    result = leave_one_out(np.random.default_rng(7).normal(size=(20, 4)), np.ones(20, dtype=int), [1, 19])
    np.testing.assert_allclose(result.values["average_precision"], 1)
    assert result.mean("precision_at_19") == 1
    assert np.isnan(result.mean("precision_at_1", 0))


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
        values={
            "precision_at_5": np.array([0.2, 0.4, 1.0, 0.6]),
            "average_precision": np.array([0.1, 0.3, nan, 0.5]),
            "r_precision": np.array([0.0, 0.2, nan, 0.7]),
            "hit_at_5": np.array([0.0, 1.0, 1.0, 1.0]),
        },
    )
    assert result.mean("precision_at_5") == pytest.approx(0.55)
    assert result.mean("precision_at_5", 0) == pytest.approx(0.3)
    assert result.mean("hit_at_5", 0) == 0.5
    assert result.mean("r_precision") == pytest.approx(0.3)
    assert result.mean("r_precision", 1) == 0.7
    assert result.mean("average_precision") == pytest.approx(0.3)
    assert result.mean("average_precision", 1) == 0.5
    assert means(result, "loo", NAMES) == pytest.approx(
        {
            "loo/precision_at_5": 0.55,
            "loo/map": 0.3,
            "loo/map_normal": 0.2,
            "loo/map_pneumonia": 0.5,
            "loo/r_precision": 0.3,
            "loo/hit_at_5": 0.75,
        }
    )


def test_the_summary_has_the_agreed_names_and_intervals():
    generator = np.random.default_rng(8)
    labels = generator.integers(0, 2, 80)
    result = leave_one_out(generator.normal(size=(80, 4)) + labels[:, None], labels, [1, 5, 10])
    metrics = summarize(result, "loo", NAMES, samples=300, seed=0)
    names = ["precision_at_1", "precision_at_5", "precision_at_10", "map", "map_normal", "map_pneumonia", "hit_at_5"]
    names.append("r_precision")
    for name in names:
        assert metrics[f"loo/{name}_ci_low"] <= metrics[f"loo/{name}"] <= metrics[f"loo/{name}_ci_high"]
        assert metrics[f"loo/{name}_ci_low"] < metrics[f"loo/{name}_ci_high"] or name == "hit_at_5"
    assert metrics["loo/map_normal"] == pytest.approx(result.values["average_precision"][labels == 0].mean())
    expected = mean_interval(result.values["precision_at_5"], 300, 0)
    assert (metrics["loo/precision_at_5_ci_low"], metrics["loo/precision_at_5_ci_high"]) == expected


def test_the_summary_leaves_out_what_is_undefined():
    result = leave_one_out(np.random.default_rng(9).normal(size=(10, 3)), np.ones(10, dtype=int), [1])
    metrics = summarize(result, "loo", NAMES, samples=50, seed=0)
    assert "loo/map_pneumonia" in metrics
    assert not [name for name in metrics if "normal" in name]
    assert np.isfinite(list(metrics.values())).all()
