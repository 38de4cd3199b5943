"""Figures of what the reports depend on: the controls, and the probability told."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.report_generation.controls import CONTROLS
from tasks.reports.audit.figures.layout import (
    NORMAL,
    PNEUMONIA,
    Drawing,
    binned,
    bounds,
    draw_dot,
    grid_of_panels,
    interval_of,
    markers,
    name_rows,
    strategies_with,
)
from tasks.shared.figures import MUTED, new_figure

_SHOWN = {
    name: control.title
    for change in ("patient", "image", "context")
    for name, control in CONTROLS.items()
    if control.changes == change
}
"""Title of each panel: the controls of the image and of the context."""
_EFFECTS = {
    "flip_rate": ("label changed", "o", NORMAL),
    "follow_rate": ("label as suggested", "D", "#c77800"),
    "pneumonia": ("says pneumonia all the same", "^", PNEUMONIA),
    "score_change": ("mean change of P(yes)", "s", "#8a4fb0"),
}
"""Metric of each effect of a control, with its name, marker and colour."""


def controls_figure(metrics: Mapping[str, float]) -> Drawing | None:
    """Draw what each control does to labels and scores: one panel per control, one row per strategy.

    Args:
        metrics: `control/<control>/flip_rate`, `follow_rate`, `pneumonia` and `score_change` of each strategy.

    Returns:
        The figure, or None where no strategy has one of the metrics.
    """
    paths = {control: [f"control/{control}/{effect}" for effect in _EFFECTS] for control in _SHOWN}
    controls = [control for control in _SHOWN if strategies_with(metrics, *paths[control])]
    if not controls:
        return None
    strategies = strategies_with(metrics, *(path for control in controls for path in paths[control]))
    grid, figure = grid_of_panels(len(controls), 3, len(strategies))
    drawn = set()
    for control, axis in zip(controls, grid, strict=True):
        name_rows(axis, strategies)
        axis.set_title(_SHOWN[control])
        axis.set_xlim(-0.05, 1.05)
        present = [effect for effect in _EFFECTS if strategies_with(metrics, f"control/{control}/{effect}")]
        drawn |= set(present)
        for row, strategy in enumerate(strategies):
            for place, effect in enumerate(present):
                path = f"control/{control}/{effect}"
                value = metrics.get(f"reports/{strategy}/{path}")
                if value is not None:
                    _, marker, color = _EFFECTS[effect]
                    level = row + 0.22 * (place - (len(present) - 1) / 2)
                    draw_dot(axis, level, value, interval_of(metrics, strategy, path), marker, color)
    legend = markers({name: (marker, color, 6) for e, (name, marker, color) in _EFFECTS.items() if e in drawn})
    return Drawing(figure, "What changes when the image or the probability does, with 95 % intervals", legend)


def anchoring_figure(
    metrics: Mapping[str, float],
    told: Mapping[str, Sequence[tuple[float, float]]],
) -> Drawing | None:
    """Draw how what a strategy concludes depends on the probability that it is told.

    Args:
        metrics: `anchoring_slope` of each strategy, which may be missing.
        told: by strategy, pairs of the probability told and the outcome: 1 for the label pneumonia and 0 for normal, or
            P(yes). Strategies without pairs are left out.

    Returns:
        The figure, or None where no strategy was told a probability.
    """
    strategies = [strategy for strategy, pairs in told.items() if len(pairs)]
    if not strategies:
        return None
    columns = min(3, len(strategies))
    rows = -(-len(strategies) // columns)
    figure = new_figure(2.7 * rows)
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(strategies) :]:
        axis.axis("off")
    for strategy, axis in zip(strategies, axes.flat, strict=False):
        shown, outcomes = np.array(told[strategy], dtype=np.float64).T
        middle, mean, counts = binned(shown, outcomes)
        axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label="repeats it")
        axis.scatter(middle, mean, s=12 + 160 * counts / counts.sum(), color=NORMAL, alpha=0.8, zorder=3)
        slope = metrics.get(f"reports/{strategy}/anchoring_slope")
        if slope is not None:
            ends = np.array([shown.min(), shown.max()])
            words = f"slope {slope:.2f}{bounds(interval_of(metrics, strategy, 'anchoring_slope'))}"
            line = outcomes.mean() + slope * (ends - shown.mean())
            axis.plot(ends, line, color=PNEUMONIA, lw=1.5, label=words)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.06, 1.06), xlabel="probability told")
        axis.set_title(f"{strategy} (n = {len(shown)})")
        axis.legend(loc="upper left", framealpha=0.7)
        axis.grid(alpha=0.3)
    for row in axes:
        row[0].set_ylabel("share of pneumonia, or P(yes)")
    return Drawing(figure, "Conclusion over the probability told (dots: means of tenths, larger for more answers)")
