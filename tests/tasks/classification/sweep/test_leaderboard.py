import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from tasks.classification.sweep.leaderboard import (
    CRITERION,
    METRICS,
    TrialResult,
    balanced_log_loss,
    leaderboard,
    rows_as_numbers,
    summarize,
    sweep_report,
)


def _result(rate, seed, loss, *, test=0.5, state="run", **others):
    metrics = dict.fromkeys(METRICS, 0.9) | {CRITERION: loss, "test/auc": test, "test/accuracy": test}
    if state == "failed":
        return TrialResult({"learning_rate": rate}, seed, "failed", {}, **others)
    return TrialResult({"learning_rate": rate}, seed, state, metrics, run_id=f"run-{rate}-{seed}")


RESULTS = [
    _result(0.1, 0, 0.30, test=0.99),
    _result(0.2, 0, 0.10),
    _result(0.3, 0, 0.0, state="failed", error="The training diverged | lower it."),
    _result(0.1, 1, 0.40, test=0.98),
    _result(0.2, 1, 0.20, state="kept"),
    _result(0.3, 1, 0.0, state="failed", error="The training diverged."),
]


def test_the_order_is_by_validation_even_where_test_says_the_opposite():
    rows = leaderboard(RESULTS)
    assert [row.settings["learning_rate"] for row in rows] == [0.2, 0.1, 0.3]
    assert [row.rank for row in rows] == [1, 2, None]
    assert [(row.finished, row.seeds, row.kept) for row in rows] == [(2, 2, 1), (2, 2, 0), (0, 2, 0)]
    better_test = [
        TrialResult(r.settings, r.seed, r.state, {**r.metrics, "test/auc": 1 - r.metrics["test/auc"]}, r.run_id)
        for r in RESULTS
        if r.metrics
    ]
    assert [row.settings for row in leaderboard(better_test)] == [row.settings for row in rows[:2]]


def test_a_summary_is_that_of_a_textbook():
    summary = summarize([0.90, 0.92, 0.97])
    assert summary.mean == pytest.approx(0.93)
    assert summary.deviation == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    half = 4.302653 * summary.deviation / math.sqrt(3)  # Student's t for 2 degrees of freedom, from a table
    assert (summary.low, summary.high) == pytest.approx((0.93 - half, 0.93 + half), abs=1e-6)


def test_a_single_seed_has_neither_deviation_nor_interval():
    summary = summarize([0.9])
    assert summary.mean == 0.9
    assert all(math.isnan(value) for value in summary[1:])
    (row,) = leaderboard([_result(0.1, 0, 0.3)])
    columns, cells = rows_as_numbers([row])
    assert cells[0][columns.index("test/auc deviation")] is None
    assert "nan" not in sweep_report([row], [_result(0.1, 0, 0.3)], phantoms=False)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_log_loss_weighs_classes_alike(classes):
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), rng.integers(0, 2, 60)])
    logits = rng.normal(size=len(labels) if classes == 2 else (len(labels), classes)) * 3
    expected = []
    for label in range(classes):
        losses = []
        for logit, true in zip(logits / 1.7, labels, strict=True):
            if true == label:
                odds = np.exp([0, logit] if classes == 2 else logit)
                losses.append(-np.log(odds[label] / odds.sum()))
        expected.append(np.mean(losses))
    assert balanced_log_loss(logits, labels, 1.7) == pytest.approx(np.mean(expected))
    if classes == 2:
        weights = 1 / np.bincount(labels)[labels]
        reference = log_loss(labels, 1 / (1 + np.exp(-logits / 1.7)), sample_weight=weights)
        assert balanced_log_loss(logits, labels, 1.7) == pytest.approx(reference)


def test_the_log_loss_of_sure_and_wrong_scores_is_finite():
    assert balanced_log_loss(np.array([800.0, 800.0]), np.array([0, 1]), 1.0) == pytest.approx(400)


def test_the_report_names_order_failures_and_what_was_kept():
    text = sweep_report(leaderboard(RESULTS), RESULTS, phantoms=False)
    assert "lower first" in text
    assert "test columns are for reading only" in text
    assert "| – | learning_rate 0.3 | 0 of 2 |" in text
    assert "| 1 | learning_rate 0.2 | 2 | 0.150 ± 0.071 |" in text
    assert "| 1 | learning_rate 0.2 | kept | 0.200 | run-0.2-1 |" in text
    assert "The training diverged \\| lower it." in text
    linked = sweep_report(leaderboard(RESULTS), RESULTS, phantoms=False, address=lambda run: f"http://mlflow/{run}")
    assert "| kept | 0.200 | [run-0.2-](http://mlflow/run-0.2-1) |" in linked
    widest = max(line.count("|") for line in text.splitlines() if line.startswith("|"))
    assert widest <= 8  # columns that 690 pixels hold


def test_intervals_reach_no_impossible_value_and_two_seeds_have_none():
    def row(seeds):
        results = [
            TrialResult({"x": 1}, seed, "run", dict.fromkeys(METRICS, 0.99 - 0.02 * seed) | {"train/seconds": 6 * seed})
            for seed in range(seeds)
        ]
        report = sweep_report(leaderboard(results), results, phantoms=False)
        line = next(line for line in report.splitlines() if line.startswith("| 1 | x 1 |") and line.count("|") == 8)
        return [cell.strip() for cell in line.strip("|").split("|")]

    assert row(1)[-1] == "0"
    assert row(2)[-1] == "3 ± 4"
    assert row(2)[-2] == "0.980 ± 0.014"
    assert row(3)[-1] == "6 ± 6 (0 – 21)"
    assert row(3)[-2] == "0.970 ± 0.020 (0.920 – 1.000)"


def test_numbers_fit_their_columns():
    columns, cells = rows_as_numbers(leaderboard(RESULTS))
    assert {len(row) for row in cells} == {len(columns)}
    first = dict(zip(columns, cells[0], strict=True))
    assert first["rank"] == 1
    assert first["learning_rate"] == 0.2
    assert first[f"{CRITERION} mean"] == pytest.approx(0.15)
    assert dict(zip(columns, cells[2], strict=True))[f"{CRITERION} mean"] is None


def test_what_was_pruned_is_not_ranked_though_a_seed_of_it_finished():
    pruned = TrialResult({"learning_rate": 0.2}, 1, "kept", {}, run_id="run-0.2-1", curve=[0.9, 0.8], pruned=True)
    results = [_result(0.1, 0, 0.3), _result(0.1, 1, 0.4), _result(0.2, 0, 0.1), pruned]
    rows = leaderboard(results)
    assert [(row.rank, row.settings["learning_rate"], row.pruned) for row in rows] == [
        (1, 0.1, False),
        (None, 0.2, True),
    ]
    text = sweep_report(rows, results, phantoms=False, search="Said of it.")
    assert "| – | learning_rate 0.2 | pruned | – | – |" in text
    assert "| 1 | learning_rate 0.2 | kept, pruned after epoch 2 | – | run-0.2-1 |" in text
    assert "## Search\n\nSaid of it.\n" in text
    columns, cells = rows_as_numbers(rows)
    assert [row[columns.index("pruned")] for row in cells] == [0, 1]
