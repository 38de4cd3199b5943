from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from models.errors import InputError
from tasks.retrieval.analyses.comparison import PERMUTATIONS, compare, comparison_table, sign_flip_p
from tasks.retrieval.metrics.ranking import RankingResult
from tasks.shared.bootstrap import resample


def made(precision, average_precision=None, k=5):
    precision = np.asarray(precision, dtype=float)
    scores = precision if average_precision is None else np.asarray(average_precision, dtype=float)
    return RankingResult(
        query_ids=np.arange(len(precision)),
        query_labels=np.arange(len(precision)) % 2,
        values={f"precision_at_{k}": precision, "average_precision": scores},
    )


def rows_of(results, baseline="a", seed=0):
    return compare(results, baseline, samples=200, seed=seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_p_agrees_with_all_sign_flips(seed):
    # Fifths, so that sums tie; counted in whole numbers, so that ties are exact.
    fifths = np.random.default_rng(seed).integers(-3, 5, 9)
    observed = abs(fifths.sum())
    flips = [abs(np.dot(signs, fifths)) >= observed for signs in product((-1, 1), repeat=len(fifths))]
    assert sign_flip_p(fifths / 5, seed=0) == pytest.approx(np.mean(flips))


def test_p_of_wins_and_losses_is_that_of_the_sign_test():
    # Ones and zeros, as precision@1 gives: the exact McNemar test.
    differences = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 300)
    assert sign_flip_p(differences, seed=0) == pytest.approx(binomtest(2, 11).pvalue)


def test_drawn_flips_come_close_to_the_sign_test():
    differences = np.array([0.2] * 120 + [-0.2] * 90)
    expected = binomtest(90, 210).pvalue
    assert 0.01 < expected < 0.1
    assert sign_flip_p(differences, seed=0) == pytest.approx(expected, abs=5 * np.sqrt(expected / PERMUTATIONS))


def test_p_is_neither_zero_nor_above_one():
    assert sign_flip_p(np.zeros(50), seed=0) == 1
    assert sign_flip_p(np.array([0.5, -0.5] * 4), seed=0) == 1
    assert sign_flip_p(np.linspace(0.5, 1, 60), seed=0) == pytest.approx(2 / (PERMUTATIONS + 1))


def test_means_and_intervals_agree_with_a_loop():
    generator = np.random.default_rng(3)
    a, b = generator.random(30), generator.random(30) + 0.3
    row = rows_of({"a": made(a), "b": made(b)}, seed=7)[0]
    assert (row.encoder, row.metric) == ("b", "precision_at_5")
    assert (row.baseline_mean, row.mean) == pytest.approx((a.mean(), b.mean()))
    assert row.difference == pytest.approx(b.mean() - a.mean())
    # The same queries are drawn for both.
    drawn = [b[chosen].mean() - a[chosen].mean() for chosen in resample(30, 200, 7)]
    assert (row.low, row.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))


def test_the_interval_is_paired():
    # Queries differ widely and the encoders by a constant: no doubt about the difference.
    a = np.linspace(0, 0.9, 40)
    row = rows_of({"a": made(a), "b": made(a + 0.01)})[0]
    assert row.low == pytest.approx(0.01)
    assert row.high == pytest.approx(0.01)
    assert row.p < 0.001


def test_p_is_corrected_over_the_encoders_by_hand():
    changed = {"b": (6, 0), "c": (8, 1), "d": (5, 4), "e": (5, 3)}  # wins and losses of ten queries
    results = {"a": made([0.5] * 10)}
    for name, (wins, losses) in changed.items():
        results[name] = made([1.0] * wins + [0.0] * losses + [0.5] * (10 - wins - losses))
    rows = [row for row in rows_of(results) if row.metric == "precision_at_5"]
    assert [row.encoder for row in rows] == ["b", "c", "d", "e"]
    exact = [binomtest(losses, wins + losses).pvalue for wins, losses in changed.values()]
    assert [row.p for row in rows] == pytest.approx(exact)
    # From the least p: times 4, 3, 2, 1, never falling, at most 1. Here that is b, c, e, d.
    b, c, d, e = exact
    assert b < c < e < d
    corrected = {"b": 4 * b, "c": max(4 * b, 3 * c), "e": min(1, 2 * e), "d": 1.0}
    assert {row.encoder: row.p_holm for row in rows} == pytest.approx(corrected)


def test_queries_without_relevant_items_are_left_out_of_the_map():
    nan = float("nan")
    a, b = [0.2, nan, 0.4, 0.6], [0.4, nan, 0.4, 0.7]
    rows = {row.metric: row for row in rows_of({"a": made([0] * 4, a), "b": made([0] * 4, b)})}
    assert rows["map"].difference == pytest.approx(0.1)
    assert rows["map"].p == pytest.approx(0.5)  # two queries changed: 2 of 4 flips are as large
    undefined = [nan] * 4
    assert [row.metric for row in rows_of({"a": made([0] * 4, undefined), "b": made([1] * 4, undefined)})] == [
        "precision_at_5"
    ]


def test_results_that_cannot_be_paired_are_refused():
    a = made([0.2, 0.4])
    for other in (
        made([0.2, 0.4, 0.6]),
        made([0.2, 0.4], k=10),
        made([0.2, 0.4], [0.1, float("nan")]),
        replace(a, query_ids=a.query_ids[::-1]),
        replace(a, query_labels=1 - a.query_labels),
    ):
        with pytest.raises(InputError, match="'b' and 'a' are not of the same queries"):
            rows_of({"a": a, "b": other})
    for results in ({"b": a, "c": a}, {"a": a}, {}):
        with pytest.raises(InputError, match="A comparison with 'a'"):
            rows_of(results)


def test_the_table_shows_a_row_a_metric_and_encoder():
    rows = rows_of({"classifier": made([0.0] * 20), "metric": made([1.0] * 20)}, "classifier")
    lines = comparison_table(rows, "classifier").splitlines()
    assert lines[0].startswith("| encoder | metric | classifier |")
    assert lines[2] == ("| metric | precision_at_5 | 0.000 | 1.000 | 1.000 | 1.000 | 1.000 | &lt; 0.001 | &lt; 0.001 |")
    assert [line.split(" | ")[1] for line in lines[2:]] == ["precision_at_5", "map"]
