"""The comparison of the rules of the operating point on validation."""

import numpy as np
import pytest

from docs.tools import threshold_rules
from docs.tools.threshold_rules import compare, cross_fit
from tasks.classification.trust.calibration import RULES


def drawn(seed, count=400, offset=0.0):
    """Two normal distributions, three quarters of class 1, whose best threshold is the offset."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 > 0).astype(np.int64)
    return random.normal(2.0 * (2 * labels - 1) + offset, 1.5), labels


def test_one_half_is_scored_like_the_whole_and_never_moves():
    logits, labels = drawn(0)
    merit, spread = cross_fit(logits, labels, 4)["fixed"]
    each_class = [np.mean((logits >= 0) == labels, where=labels == label) for label in (0, 1)]
    assert merit == pytest.approx(np.mean(each_class))  # both halves are as large
    assert spread == 0


def test_a_rule_that_adapts_wins_where_the_scores_are_off_and_the_smooth_one_is_steadier():
    found = cross_fit(*drawn(1, offset=3.0), 10)
    assert found["balanced_likelihood"][0] > found["fixed"][0] + 0.05
    assert found["balanced_likelihood"][1] < found["balanced_accuracy"][1]


def test_the_table_has_the_best_rule_first_and_reads_nothing_of_the_test_split(monkeypatch):
    logits, labels = drawn(2, offset=3.0)
    monkeypatch.setattr(threshold_rules, "outputs_of", lambda _: {"val_logits": logits, "val_labels": labels})
    rows = compare([1, 2]).splitlines()[2:]
    merits = [float(row.split("|")[2]) for row in rows]
    assert len(rows) == len(RULES)
    assert merits == sorted(merits, reverse=True)
    assert RULES["fixed"].description in rows[-1]
