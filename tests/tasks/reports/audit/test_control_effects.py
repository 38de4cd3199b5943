import math

import numpy as np
import pytest
import statsmodels.api

from models.report_generation.schema import Answer, Provenance, Report
from tasks.reports.audit.control_effects import (
    Pair,
    anchoring_slope,
    flip_rate,
    follow_rate,
    identical,
    report_effects,
    score_change,
)
from tests.tasks.shared.test_estimates import wilson

P, N = "pneumonia", "normal"
SOURCE = Provenance(
    generator="hand",
    version="1",
    strategy="hand",
    language_model=False,
    dataset="",
    classifier_sha256="",
    phantoms=True,
)


def answer(label, text="text") -> Answer:
    """An answer with that label, or for "unread" one without a report."""
    report = None
    if label != "unread":
        report = Report(
            case_index=0, impression=text, label=label, limitations=("It may be wrong.",), provenance=SOURCE
        )
    return Answer(
        row_id="", case_index=0, strategy="hand", control="none", shown_probability=None, prompt="", text=text,
        report=report,
    )  # fmt: skip


def pairs(*labels, suggested=None) -> list[Pair]:
    suggested = suggested or [None] * len(labels)
    return [
        Pair(answer(plain), answer(changed), hint) for (plain, changed), hint in zip(labels, suggested, strict=True)
    ]


def values(effects) -> dict[str, tuple[float, int]]:
    return {name: (rate.value, rate.n) for name, rate in effects.items()}


def test_flips_are_counted_where_both_have_a_label():
    rate = flip_rate([P, N, P, None, N], [P, P, N, P, None])
    assert (rate.value, rate.n) == (2 / 3, 3)
    assert (rate.low, rate.high) == pytest.approx(wilson(2, 3))
    assert flip_rate([None], [P]).n == 0


def test_following_is_counted_where_there_is_a_label_and_a_suggestion():
    read = "".join(P)  # equal, but another object, as a label is that comes from a file
    rate = follow_rate([read, N, P, None, N], [P, P, None, P, N])
    assert (rate.value, rate.n) == (2 / 3, 3)


def test_identity_counts_all_pairs():
    rate = identical([None, None, "".join(P), N], [None, P, P, P])  # equal, but another object
    assert (rate.value, rate.n) == (2 / 4, 4)


def test_effects_of_another_patients_image_and_of_the_flipped_probability():
    changed = pairs((P, N), (P, P), (N, N), (N, None), suggested=[N, N, P, P])
    for control in ("other_label", "same_label", "flipped"):
        assert values(report_effects(control, changed)) == {"flip_rate": (1 / 3, 3), "follow_rate": (1 / 3, 3)}


def test_effects_of_an_image_that_shows_nothing():
    changed = pairs((P, P), (P, N), (N, P), (N, None), (N, "unread"))
    for control in ("blank", "noise", "no_image"):
        assert values(report_effects(control, changed)) == {
            "flip_rate": (2 / 3, 3),
            "concludes": (3 / 5, 5),
            "pneumonia": (2 / 5, 5),
        }


def test_effects_of_other_probabilities_and_words():
    changed = pairs((P, N), (P, P), (None, None), (None, P))
    assert values(report_effects("even", changed)) == {"flip_rate": (1 / 2, 2)}
    assert values(report_effects("no_probability", changed)) == {"flip_rate": (1 / 2, 2)}
    assert values(report_effects("paraphrase", changed)) == {"consistency": (2 / 4, 4)}


def test_another_batch_may_change_text_and_label_apart():
    changed = [
        Pair(answer(P, "one"), answer(P, "one")),
        Pair(answer(P, "one"), answer(P, "two")),
        Pair(answer(P, "two"), answer(N, "one")),
        Pair(answer("unread", ""), answer("unread", "")),  # both failed, which says nothing of their texts
    ]
    for control in ("companions", "alone"):
        effects = values(report_effects(control, changed))
        assert effects == {"identical_text": (1 / 3, 3), "identical_label": (3 / 4, 4)}


def test_without_pairs_nothing_is_known():
    for control in ("other_label", "blank", "flipped", "even", "paraphrase", "companions", "alone"):
        assert all(math.isnan(rate.value) and rate.n == 0 for rate in report_effects(control, []).values())


def test_the_change_of_a_score_by_hand():
    rate = score_change([0.5, 0.1, None, 0.4], [0.2, 0.6, 0.3, None])
    assert (rate.value, rate.n) == (pytest.approx(0.4), 2)
    assert (rate.low, rate.high) == pytest.approx((0.3, 0.5))
    assert score_change([None], [0.1]).n == 0


def test_the_slope_by_hand():
    """Both cases have within-case probabilities -.3, .3, 0; the first follows them, the second stays."""
    told = [0.2, 0.8, 0.5, 0.8, 0.2, 0.5]
    slope = anchoring_slope([0, 0, 0, 1, 1, 1], told, [0, 1, 1, 1, 1, 1])
    assert slope.value == pytest.approx((0.3 * 2 / 3 + 0.3 * 1 / 3) / 0.36)
    assert slope.n == 2
    assert (slope.low, slope.high) == pytest.approx((0, 0.3 / 0.18))  # samples of one case alone


def test_the_slope_is_that_of_a_regression_with_a_constant_for_each_case():
    random = np.random.default_rng(0)
    cases = random.permutation(np.repeat(np.arange(20), 3))
    told = random.random(60)
    outcomes = 0.5 * told + random.normal(size=20)[cases] + random.normal(size=60) / 10
    design = np.column_stack([told, cases[:, None] == np.arange(20)]).astype(float)
    reference = statsmodels.api.OLS(outcomes, design).fit()
    slope = anchoring_slope(cases.tolist(), told.tolist(), outcomes.tolist())
    assert slope.value == pytest.approx(reference.params[0])
    low, high = reference.get_robustcov_results("cluster", groups=cases).conf_int()[0]
    assert (slope.low, slope.high) == pytest.approx((low, high), abs=0.04)


def test_the_slope_at_its_ends():
    cases, told = [0, 0, 0, 1, 1, 1], [0.1, 0.9, 0.5, 0.7, 0.3, 0.5]
    assert anchoring_slope(cases, told, [1, 1, 1, 0, 0, 0]).value == 0
    assert anchoring_slope(cases, told, told).value == pytest.approx(1)
    assert anchoring_slope(cases, told, [1 - p for p in told]).value == pytest.approx(-1)


def test_cases_told_one_probability_say_nothing():
    assert anchoring_slope([], [], []).n == 0
    assert math.isnan(anchoring_slope([0, 1], [0.2, 0.8], [0, 1]).value)
    assert anchoring_slope([0, 0, 1], [0.2, 0.8, 0.9], [0, 0, 1]).n == 1
