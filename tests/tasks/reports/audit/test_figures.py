import io
from collections.abc import Callable

import matplotlib.image
import numpy as np
import pytest

from models.report_generation.schema import Usage
from tasks.reports.audit.figures import (
    agreement_figure,
    anchoring_figure,
    claims_figure,
    collapse_figure,
    controls_figure,
    label_scores_figure,
    reticence_figure,
    score_figure,
    stability_figure,
    usage_figure,
)

STRATEGIES = ("concise", "structured", "differential", "zero_shot", "clinical_role", "context_aware")
KINDS = ("side", "lobe", "effusion")

OF_METRICS: dict[str, tuple[Callable[..., bytes | None], str]] = {
    "label scores": (lambda metrics, **marks: label_scores_figure(metrics, {}, **marks), "sensitivity"),
    "reticence": (reticence_figure, "hedging_rate"),
    "collapse": (collapse_figure, "duplicate_rate"),
    "stability": (stability_figure, "control/alone/identical_text"),
    "agreement": (agreement_figure, "both_right"),
    "flips": (controls_figure, "control/blank/flip_rate"),
    "following": (controls_figure, "control/other_label/follow_rate"),
    "score change": (controls_figure, "control/noise/score_change"),
}
"""Figures that are drawn from the metrics, each with a metric that is enough to draw it."""


def pixels(png: bytes | None) -> np.ndarray:
    assert png is not None
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def used(tokens: int, finish: str = "stop") -> Usage:
    return Usage(
        prompt_tokens=300, generated_tokens=tokens, finish_reason=finish, seconds=0.4, batch_size=8, peak_gib=None
    )


def measured(metric: str, value: float, strategies: tuple[str, ...] = ("concise",)) -> dict[str, float]:
    found = {}
    for strategy in strategies:
        name = f"reports/{strategy}/{metric}"
        found |= {name: value, f"{name}_ci_low": value - 0.1, f"{name}_ci_high": value + 0.1}
    return found


@pytest.mark.parametrize("name", OF_METRICS)
def test_figures_of_metrics_are_drawn_from_a_single_metric(name: str):
    draw, metric = OF_METRICS[name]
    png = draw(measured(metric, 0.4), phantoms=False)
    assert pixels(png).std() > 0
    assert png == draw(measured(metric, 0.4), phantoms=False)


@pytest.mark.parametrize("name", [name for name in OF_METRICS if name != "agreement"])
def test_dots_move_with_the_value_and_bars_with_the_interval(name: str):
    draw, metric = OF_METRICS[name]
    low, high = (pixels(draw(measured(metric, value), phantoms=False)) for value in (0.3, 0.6))
    columns = np.flatnonzero((low != high).any(axis=(0, 2)))
    assert len(columns)
    wider = measured(metric, 0.3) | {f"reports/concise/{metric}_ci_high": 0.9}
    changed = (pixels(draw(wider, phantoms=False)) != low).any(axis=(0, 2))
    assert np.flatnonzero(changed).min() > columns.min()  # the dot stays, its bar grows to the right
    without = {f"reports/concise/{metric}": 0.3}
    assert pixels(draw(without, phantoms=False)).shape == low.shape


@pytest.mark.parametrize("name", OF_METRICS)
def test_figures_grow_with_the_strategies(name: str):
    draw, metric = OF_METRICS[name]
    one, six = (pixels(draw(measured(metric, 0.4, chosen), phantoms=False)) for chosen in (("concise",), STRATEGIES))
    assert six.shape[0] > one.shape[0]


@pytest.mark.parametrize("name", OF_METRICS)
@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"reports/label_accuracy": 0.5, "reports/count": 4.0},  # over all strategies
        {"test/auc": 0.9},
        {"reports/concise/something_else": 1.0},
    ],
)
def test_figures_of_metrics_without_their_metrics_are_none(name: str, metrics: dict[str, float]):
    assert OF_METRICS[name][0](metrics, phantoms=False) is None


def test_the_classifier_is_drawn_as_a_line():
    metrics = measured("label_accuracy", 0.2)
    without, line = (
        pixels(label_scores_figure(metrics, reference, phantoms=False)) for reference in ({}, {"label_accuracy": 0.8})
    )
    below_title = np.s_[40:]  # which says what the line is
    changed = (without[below_title] != line[below_title]).any(axis=2)
    columns = np.flatnonzero(changed.any(axis=0))
    assert np.ptp(columns) <= 3
    assert changed[:, columns].mean() > 0.2


def share_of(png: bytes | None, color: str) -> float:
    wanted = np.array(matplotlib.colors.to_rgb(color))
    return float((np.abs(pixels(png) - wanted).max(axis=2) < 0.02).mean())


def test_agreement_bars_are_shares_of_the_four_cells():
    cells = {"both_right": 60, "only_report_right": 10, "only_classifier_right": 20, "both_wrong": 10}
    colors = ("#1d5f95", "#8fc1e3", "#f2c48d", "#b3261e")
    metrics = {f"reports/concise/{name}": float(count) for name, count in cells.items()}
    png = agreement_figure(metrics, phantoms=False)
    areas = np.array([share_of(png, color) for color in colors])
    # Their names in the legend and the numbers in the bars take a little.
    np.testing.assert_allclose(areas / areas.sum(), [0.6, 0.1, 0.2, 0.1], atol=0.02)
    same = agreement_figure({name: value / 100 for name, value in metrics.items()}, phantoms=False)
    np.testing.assert_array_equal(pixels(same), pixels(png))


def test_kappa_and_mcnemar_stand_beside_the_bar():
    metrics = {"reports/concise/both_right": 3.0}
    plain, kappa, both = (
        pixels(agreement_figure(metrics | more, phantoms=False))
        for more in (
            {},
            {"reports/concise/kappa": 0.4},
            {"reports/concise/kappa": 0.4, "reports/concise/mcnemar_p_holm": 0.0},
        )
    )
    assert (plain != kappa).any()
    assert (kappa != both).any()
    assert agreement_figure({"reports/concise/both_right": 0.0}, phantoms=False) is None


def claims_png(*reports: list[tuple[str, str]]) -> np.ndarray:
    return pixels(claims_figure({"concise": reports}, KINDS, phantoms=False))


def test_claims_are_told_apart_by_kind_status_and_number():
    pictures = [
        claims_png([]),
        claims_png([("lobe", "affirmed")]),
        claims_png([("lobe", "hedged")]),
        claims_png([("lobe", "denied")]),
        claims_png([("effusion", "affirmed")]),
        claims_png([("lobe", "affirmed")], []),
        claims_png([("lobe", "affirmed")] * 50),
    ]
    for first in range(len(pictures)):
        for second in range(first):
            assert (pictures[first] != pictures[second]).any()


def test_what_is_said_to_be_beyond_judgement_is_no_claim():
    np.testing.assert_array_equal(claims_png([("lobe", "not assessable"), ("unknown", "affirmed")]), claims_png([]))


def test_claims_per_report_and_not_in_all():
    twice = claims_png([("lobe", "affirmed")], [("lobe", "affirmed")])
    np.testing.assert_array_equal(twice, claims_png([("lobe", "affirmed")]))


def test_claims_without_reports_are_none():
    assert claims_figure({}, KINDS, phantoms=False) is None
    assert claims_figure({"concise": []}, KINDS, phantoms=False) is None


def test_anchoring_shows_the_slope_and_every_strategy_that_was_told():
    told = {"context_aware": [(0.1, 0.0), (0.5, 1.0), (0.9, 1.0)], "concise": []}
    plain, sloped, more = (
        anchoring_figure(metrics, pairs, phantoms=False)
        for metrics, pairs in (
            ({}, told),
            ({"reports/context_aware/anchoring_slope": 0.7}, told),
            ({}, told | {"template": [(0.2, 0.0)]}),
        )
    )
    red = "#d1493f"
    assert share_of(plain, red) == 0 < share_of(sloped, red)
    assert pixels(more).shape[1] > pixels(plain).shape[1]
    assert anchoring_figure({"reports/context_aware/anchoring_slope": 0.7}, {}, phantoms=False) is None
    assert anchoring_figure({}, {"concise": []}, phantoms=False) is None


def test_scores_are_drawn_beside_the_classifier():
    labels = np.array([0, 0, 1, 1])
    good, bad = np.array([0.1, 0.2, 0.8, 1.0]), np.array([0.9, 0.8, 0.2, 0.1])
    first, second = (score_figure(scores, good, labels, phantoms=False) for scores in (good, bad))
    assert (pixels(first) != pixels(second)).any()
    one_class = score_figure(good, good, np.ones(4, int), phantoms=False)
    assert pixels(one_class).shape == pixels(first).shape
    assert score_figure(good[:0], good[:0], labels[:0], phantoms=False) is None


def test_usage_shows_what_reports_take_and_which_were_cut():
    plain = {"concise": [used(10), used(20)], "structured": [used(90)], "yes_no": []}
    cut = plain | {"concise": [used(10), used(20, "length")]}
    first, second = (usage_figure(usage, phantoms=False) for usage in (plain, cut))
    assert (pixels(first) != pixels(second)).any()
    assert share_of(first, "#b3261e") == 0 < share_of(second, "#b3261e")
    assert usage_figure({}, phantoms=False) is None
    assert usage_figure({"concise": []}, phantoms=False) is None


@pytest.mark.parametrize(
    "draw",
    [
        lambda **marks: label_scores_figure(measured("label_accuracy", 0.5), {}, **marks),
        lambda **marks: agreement_figure({"reports/concise/both_right": 1.0}, **marks),
        lambda **marks: claims_figure({"concise": [[]]}, KINDS, **marks),
        lambda **marks: controls_figure(measured("control/blank/flip_rate", 0.5), **marks),
        lambda **marks: anchoring_figure({}, {"concise": [(0.5, 1.0)]}, **marks),
        lambda **marks: score_figure(np.array([0.5]), np.array([0.5]), np.array([1]), **marks),
        lambda **marks: usage_figure({"concise": [used(3)]}, **marks),
    ],
)
def test_what_shows_nothing_real_gets_a_watermark(draw: Callable[..., bytes | None]):
    plain, phantoms, random = (
        pixels(draw(phantoms=phantoms, random_weights=random))
        for phantoms, random in ((False, False), (True, False), (False, True))
    )
    assert (plain != phantoms).any(axis=2).mean() > 0.005
    assert (plain != random).any(axis=2).mean() > 0.005
    assert (phantoms != random).any()
