import io
from collections.abc import Callable

import matplotlib.image
import numpy as np
import pytest

from models.report_generation.schema import Usage
from tasks.reports.audit.figures.agreement import agreement_figure
from tasks.reports.audit.figures.claims import claims_figure
from tasks.reports.audit.figures.controls import anchoring_figure, controls_figure
from tasks.reports.audit.figures.dots import DOT_FIGURES, dots_figure, label_scores_figure
from tasks.reports.audit.figures.generation import score_figure, usage_figure
from tasks.reports.audit.figures.layout import Drawing
from tests.support.figures import REAL, require_legible

STRATEGIES = ("concise", "structured", "differential", "zero_shot", "clinical_role", "context_aware")
KINDS = ("side", "lobe", "effusion")

OF_METRICS: dict[str, tuple[Callable[..., Drawing | None], str]] = {
    "label scores": (lambda metrics: label_scores_figure(metrics, {}), "sensitivity"),
    **{
        name: (lambda metrics, name=name: dots_figure(metrics, DOT_FIGURES[name][1], DOT_FIGURES[name][0]), metric)
        for name, metric in {
            "reticence": "hedging_rate",
            "collapse": "duplicate_rate",
            "stability": "control/companions/identical_text",
        }.items()
    },
    "agreement": (agreement_figure, "both_right"),
    "flips": (controls_figure, "control/blank/flip_rate"),
    "following": (controls_figure, "control/other_label/follow_rate"),
    "score change": (controls_figure, "control/noise/score_change"),
}
"""Figures that are drawn from the metrics, each with a metric that is enough to draw it."""


def pixels(drawing: Drawing | None) -> np.ndarray:
    assert drawing is not None
    return matplotlib.image.imread(io.BytesIO(drawing.png(REAL, "test, 4 cases")))[..., :3]


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
def test_figures_of_metrics_are_drawn_from_a_single_metric_grow_and_can_be_read_where_they_are_shown(name: str):
    draw, metric = OF_METRICS[name]
    drawn = pixels(draw(measured(metric, 0.4)))
    assert drawn.std() > 0
    np.testing.assert_array_equal(drawn, pixels(draw(measured(metric, 0.4))))
    of_all = require_legible(lambda: pixels(draw(measured(metric, 0.4, STRATEGIES))))
    assert of_all.shape[0] > drawn.shape[0]


def test_all_other_figures_can_be_read_where_they_are_shown():
    told = {strategy: [(0.1, 0.0), (0.5, 1.0), (0.9, 1.0)] for strategy in STRATEGIES}
    usage = {strategy: [used(10), used(20, "length")] for strategy in STRATEGIES}
    claims = {strategy: [[("lobe", "affirmed")], []] for strategy in STRATEGIES}
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 1.0])
    slopes = {f"reports/{strategy}/anchoring_slope": 0.7 for strategy in STRATEGIES}
    for draw in (
        lambda: anchoring_figure(slopes, told),
        lambda: usage_figure(usage),
        lambda: claims_figure(claims, KINDS),
        lambda: score_figure(scores, scores, labels),
    ):
        require_legible(lambda draw=draw: pixels(draw()))


@pytest.mark.parametrize("name", [name for name in OF_METRICS if name != "agreement"])
def test_dots_move_with_the_value_and_bars_with_the_interval(name: str):
    draw, metric = OF_METRICS[name]
    low, high = (pixels(draw(measured(metric, value))) for value in (0.3, 0.6))
    columns = np.flatnonzero((low != high).any(axis=(0, 2)))
    assert len(columns)
    wider = measured(metric, 0.3) | {f"reports/concise/{metric}_ci_high": 0.9}
    changed = (pixels(draw(wider)) != low).any(axis=(0, 2))
    assert np.flatnonzero(changed).min() > columns.min()  # the dot stays, its bar grows to the right
    without = {f"reports/concise/{metric}": 0.3}
    assert pixels(draw(without)).shape == low.shape


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
    assert OF_METRICS[name][0](metrics) is None


def test_the_classifier_is_drawn_as_a_line():
    metrics = measured("label_accuracy", 0.2)
    without, line = (pixels(label_scores_figure(metrics, reference)) for reference in ({}, {"label_accuracy": 0.8}))
    below_title = np.s_[150:]  # which says what the line is
    changed = (without[below_title] != line[below_title]).any(axis=2)
    columns = np.flatnonzero(changed.any(axis=0))
    assert np.ptp(columns) <= 6
    assert changed[:, columns].mean() > 0.2


def share_of(picture: np.ndarray, color: str) -> float:
    wanted = np.array(matplotlib.colors.to_rgb(color))
    return float((np.abs(picture - wanted).max(axis=2) < 0.02).mean())


def test_agreement_bars_are_shares_of_the_four_cells():
    cells = {"both_right": 60, "only_report_right": 10, "only_classifier_right": 20, "both_wrong": 10}
    colors = ("#1d5f95", "#8fc1e3", "#f2c48d", "#b3261e")
    metrics = {f"reports/concise/{name}": float(count) for name, count in cells.items()}
    drawn = pixels(agreement_figure(metrics))
    areas = np.array([share_of(drawn, color) for color in colors])
    # Their names in the legend and the numbers in the bars take a little.
    np.testing.assert_allclose(areas / areas.sum(), [0.6, 0.1, 0.2, 0.1], atol=0.02)
    same = agreement_figure({name: value / 100 for name, value in metrics.items()})
    np.testing.assert_array_equal(pixels(same), drawn)


def test_kappa_and_mcnemar_stand_beside_the_bar():
    metrics = {"reports/concise/both_right": 3.0}
    plain, kappa, both = (
        pixels(agreement_figure(metrics | more))
        for more in (
            {},
            {"reports/concise/kappa": 0.4},
            {"reports/concise/kappa": 0.4, "reports/concise/mcnemar_p_holm": 0.0},
        )
    )
    assert (plain != kappa).any()
    assert (kappa != both).any()
    assert agreement_figure({"reports/concise/both_right": 0.0}) is None


def claims_pixels(*reports: list[tuple[str, str]]) -> np.ndarray:
    return pixels(claims_figure({"concise": reports}, KINDS))


def test_claims_are_told_apart_by_kind_status_and_number():
    pictures = [
        claims_pixels([]),
        claims_pixels([("lobe", "affirmed")]),
        claims_pixels([("lobe", "hedged")]),
        claims_pixels([("lobe", "denied")]),
        claims_pixels([("effusion", "affirmed")]),
        claims_pixels([("lobe", "affirmed")], []),
        claims_pixels([("lobe", "affirmed")] * 50),
    ]
    for first in range(len(pictures)):
        for second in range(first):
            assert (pictures[first] != pictures[second]).any()


def test_what_is_said_to_be_beyond_judgement_is_no_claim():
    np.testing.assert_array_equal(
        claims_pixels([("lobe", "not assessable"), ("unknown", "affirmed")]), claims_pixels([])
    )


def test_claims_per_report_and_not_in_all():
    twice = claims_pixels([("lobe", "affirmed")], [("lobe", "affirmed")])
    np.testing.assert_array_equal(twice, claims_pixels([("lobe", "affirmed")]))


def test_claims_without_reports_are_none():
    assert claims_figure({}, KINDS) is None
    assert claims_figure({"concise": []}, KINDS) is None


def test_anchoring_shows_the_slope_and_every_strategy_that_was_told():
    told = {"context_aware": [(0.1, 0.0), (0.5, 1.0), (0.9, 1.0)], "concise": []}
    plain, sloped, more = (
        pixels(anchoring_figure(metrics, pairs))
        for metrics, pairs in (
            ({}, told),
            ({"reports/context_aware/anchoring_slope": 0.7}, told),
            ({}, told | {"template": [(0.2, 0.0)]}),
        )
    )
    red = "#d1493f"
    assert share_of(plain, red) == 0 < share_of(sloped, red)
    assert more.shape == plain.shape
    assert (more != plain).any()
    assert anchoring_figure({"reports/context_aware/anchoring_slope": 0.7}, {}) is None
    assert anchoring_figure({}, {"concise": []}) is None


def test_scores_are_drawn_beside_the_classifier():
    labels = np.array([0, 0, 1, 1])
    good, bad = np.array([0.1, 0.2, 0.8, 1.0]), np.array([0.9, 0.8, 0.2, 0.1])
    first, second = (pixels(score_figure(scores, good, labels)) for scores in (good, bad))
    assert (first != second).any()
    one_class = score_figure(good, good, np.ones(4, int))
    assert pixels(one_class).shape == first.shape
    assert score_figure(good[:0], good[:0], labels[:0]) is None


def test_usage_shows_what_reports_take_and_which_were_cut():
    plain = {"concise": [used(10), used(20)], "structured": [used(90)], "yes_no": []}
    cut = plain | {"concise": [used(10), used(20, "length")]}
    first, second = (pixels(usage_figure(usage)) for usage in (plain, cut))
    assert (first != second).any()
    assert share_of(first, "#b3261e") == 0 < share_of(second, "#b3261e")
    assert usage_figure({}) is None
    assert usage_figure({"concise": []}) is None
