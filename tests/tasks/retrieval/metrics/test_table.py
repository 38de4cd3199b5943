from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom

from tasks.retrieval.metrics.table import METRICS, RankedItems, columns, hit_by_chance, metric_of


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
