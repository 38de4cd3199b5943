from itertools import combinations

import medmnist
import numpy as np
import pytest
from scipy.stats import hypergeom
from sklearn.metrics import ndcg_score

from tasks.records.data import GRADED
from tasks.retrieval.metrics.chance import from_gallery, leave_one_out
from tasks.retrieval.metrics.ranking import evaluate
from tasks.retrieval.metrics.table import METRICS, RankedItems, columns, hit_by_chance, metric_of, ndcg


def ranked(relevant):
    relevant = np.asarray(relevant, dtype=np.int64)
    return RankedItems(relevant, relevant.cumsum(axis=1))


@pytest.mark.parametrize(("items", "relevant"), [(1, 1), (5, 1), (7, 3), (8, 7), (6, 6)])
def test_the_chance_of_every_metric_is_its_mean_over_all_rankings(items, relevant):
    all_rankings = ranked([np.isin(np.arange(items), found) for found in combinations(range(items), relevant)])
    for name, metric, cutoff in columns(sorted({1, min(3, items), items})):
        chance = metric.chance(np.array([relevant]), items, *cutoff)
        assert chance == pytest.approx(metric.measure(all_rankings, *cutoff).mean()), name


def test_every_metric_lies_from_0_to_1_and_is_undefined_where_its_chance_is():
    generator = np.random.default_rng(0)
    rankings = ranked(np.vstack([np.zeros((1, 9)), np.ones((1, 9)), generator.integers(0, 2, (50, 9))]))
    for name, metric, cutoff in columns([1, 4]):
        values, chance = metric.measure(rankings, *cutoff), metric.chance(rankings.totals, 9, *cutoff)
        assert values.dtype == np.float64
        np.testing.assert_array_equal(np.isnan(values), np.isnan(chance), err_msg=name)
        assert np.nanmin(values) >= 0
        assert np.nanmax(values) <= 1 + 1e-12
        assert values[1] == pytest.approx(1) == chance[1]  # where all is relevant


def test_a_column_leads_to_its_metric_and_says_its_cutoff():
    found = {name: cutoff for name, _, cutoff in columns([1, 5])}
    assert (
        found.items() >= {"precision_at_5": (5,), "hit_at_1": (1,), "average_precision": (), "r_precision": ()}.items()
    )
    assert all(metric_of(name) is metric for name, metric, _ in columns([1, 5]))
    assert len({metric.name for metric in METRICS}) == len({metric.mean or metric.name for metric in METRICS})


def test_hit_in_a_large_gallery_agrees_with_the_hypergeometric_distribution():
    assert hit_by_chance(np.array([1214]), 4708, 10)[0] == pytest.approx(1 - hypergeom.pmf(0, 4708, 1214, 10))


GRADES = 5


def graded(seed, queries=12, items=30):
    """Vectors with grades, of which some queries are in the gallery, and what they are worth to each other."""
    random = np.random.default_rng(seed)
    vectors, grades = random.normal(size=(items, 6)), random.integers(0, GRADES, items)
    gains = GRADES - 1.0 - np.abs(grades[:queries, None] - grades)
    return vectors, grades, gains


@pytest.mark.parametrize("k", [1, 2, 29])
def test_ndcg_agrees_with_scikit_learn_on_the_ranking_without_the_query(k):
    vectors, grades, gains = graded(0)
    ids = np.arange(30)
    found = evaluate(vectors[:12], grades[:12], vectors, grades, ids[:12], ids, [k], grades=GRADES)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in range(12):
        others = ids != query
        expected = ndcg_score(gains[[query]][:, others], (unit @ unit[query])[None, others], k=k)
        assert found.values[f"ndcg_at_{k}"][query] == pytest.approx(expected)


def test_ndcg_by_chance_is_its_mean_over_many_random_rankings():
    _, grades, gains = graded(1)
    random = np.random.default_rng(2)
    expected = leave_one_out(grades, np.arange(30), [4], GRADES).values["ndcg_at_4"]
    in_gallery = from_gallery(grades[:12], np.arange(12), grades, [4], GRADES).values["ndcg_at_4"]
    for query in range(3):
        others = np.arange(30) != query
        for of_query, chance in ((gains[query, others], expected[query]), (gains[query], in_gallery[query])):
            drawn = random.permuted(np.tile(of_query, (20_000, 1)), axis=1)
            relevant = (drawn == GRADES - 1).astype(np.int64)
            rankings = RankedItems(relevant, relevant.cumsum(axis=1), drawn)
            assert chance == pytest.approx(ndcg(rankings, 4).mean(), abs=0.005)


def test_graded_metrics_are_of_grades_only():
    vectors, grades, _ = graded(3)
    plain = evaluate(vectors, grades, vectors, grades, np.arange(30), np.arange(30), [1, 5])
    assert not any(name.startswith("ndcg") for name in plain.values)
    assert {name for name, metric, _ in columns([1, 5], graded=True) if metric.graded} == {"ndcg_at_1", "ndcg_at_5"}
    with_grades = evaluate(vectors, grades, vectors, grades, np.arange(30), np.arange(30), [1, 5], grades=GRADES)
    for name, values in plain.values.items():
        np.testing.assert_array_equal(values, with_grades.values[name])


def test_the_sets_with_grades_are_those_that_medmnist_calls_ordinal():
    ordinal = {flag for flag, info in medmnist.INFO.items() if info["task"] == "ordinal-regression"}
    assert set(GRADED) == ordinal
