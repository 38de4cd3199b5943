"""The figure of a sweep: parallel coordinates (Inselberg, 1985), from the settings to the scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from tasks.classification.sweep.leaderboard import CRITERION, Row, TrialResult, shown_value
from tasks.shared.figures import MUTED, TEXT, Source, new_figure, render_png

SCORES = {
    CRITERION: "validation\nlog-loss\n(lower is up)",
    "val/auc": "validation\nAUC",
    "test/auc": "test\nAUC",
    "test/accuracy": "test\naccuracy",
}
FAN = 0.07  # height over which the lines through one setting are fanned out
MOST_LEVELS = 7
"""Numbers on the axis of a setting that are drawn one by one; more are drawn on a scale."""


def parallel_coordinates(rows: Sequence[Row], results: Sequence[TrialResult], *, source: Source) -> bytes:
    """Draw a line for each combination of settings, through its values and its mean scores.

    Every axis of a score points up where it is better. Dots are the trainings of single seeds. The grey lines of what
    was pruned end where the scores begin.

    Args:
        rows: the leaderboard, the best first; combinations that failed are left out.
        results: every training.
        source: what it is made from.

    Returns:
        PNG.
    """
    ranked, pruned = [row for row in rows if row.rank is not None], [row for row in rows if row.pruned]
    fields = list(rows[0].settings)
    colours = colormaps["viridis"](np.linspace(0, 0.88, max(2, len(ranked))))
    figure = new_figure(3.4)
    axis: Any = figure.subplots()
    of_settings = [
        _draw_settings(axis, at, [row.settings[field] for row in (*ranked, *pruned)]) for at, field in enumerate(fields)
    ]
    ended: list[Any] = []
    for place in range(len(ranked), len(ranked) + len(pruned)):
        line = [height[place] for height in of_settings]
        ended = axis.plot(line, color=MUTED, linewidth=0.8, alpha=0.5, zorder=2, label="pruned")
    heights = [height[: len(ranked)] for height in of_settings]
    finished = [result for result in results if any(result.settings == row.settings for row in ranked)]
    finished = [result for result in finished if result.metrics]
    for at, metric in enumerate(SCORES, start=len(fields)):
        low, high = _draw_scale(axis, at, [result.metrics[metric] for result in finished], metric)
        heights.append(np.array([(row.summaries[metric].mean - low) / (high - low) for row in ranked]))
        for place, row in enumerate(ranked):
            seeds = [result.metrics[metric] for result in finished if result.settings == row.settings]
            dots = [(value - low) / (high - low) for value in seeds]
            axis.plot([at] * len(dots), dots, "o", color=colours[place], markersize=3.5, zorder=4)
    lines = []
    for place in reversed(range(len(ranked))):  # the best last, on top
        line = [height[place] for height in heights]
        lines += axis.plot(line, color=colours[place], linewidth=2.6 if place == 0 else 1.3, zorder=3)
    named = sorted({0, len(ranked) // 2, len(ranked) - 1})
    for line, place in zip(lines, reversed(range(len(ranked))), strict=True):
        line.set_label(f"rank {place + 1} on validation")
    titles = [field.replace("_", "\n") for field in fields] + list(SCORES.values())
    axis.set_xticks(range(len(titles)), titles)
    axis.tick_params(axis="x", length=0, pad=2, top=True, labeltop=True, bottom=False, labelbottom=False)
    axis.set_yticks([])
    axis.set_xlim(-0.7, len(titles) - 0.6)
    axis.set_ylim(-0.1, 1.1)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return render_png(
        figure, source, title="Each combination of settings and what it reached, the best on validation in bold",
        shown=f"{len(finished)} trainings of {len(ranked)} combinations" + f", {len(pruned)} pruned" * bool(pruned),
        legend=[*(lines[-1 - place] for place in named), *ended],
    )  # fmt: skip


def _draw_settings(axis: Any, at: int, values: Sequence[str | float]) -> NDArray[np.float64]:
    """Draw the axis of one field, its values evenly spaced or on a scale; give the height of each line there."""
    distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    axis.axvline(at, 0.08, 0.92, color=MUTED, linewidth=0.8)
    if len(distinct) > MOST_LEVELS and not isinstance(distinct[-1], str):
        numbers = np.array(values, float)
        scaled = np.log(numbers) if numbers.min() > 0 else numbers
        for height, value in ((0.0, numbers.min()), (1.0, numbers.max())):
            _label(axis, at, height, f"{value:.2g}")
        return (scaled - scaled.min()) / np.ptp(scaled)
    heights = np.zeros(len(values))
    for level, value in enumerate(distinct):
        height = 0.5 if len(distinct) == 1 else level / (len(distinct) - 1)
        members = [place for place, other in enumerate(values) if other == value]
        heights[members] = height + FAN * (np.linspace(0.5, -0.5, len(members)) if len(members) > 1 else 0.0)
        _label(axis, at, height, shown_value(value))
    return heights


def _label(axis: Any, at: int, height: float, text: str) -> None:
    label = axis.text(at - 0.06, height, text, fontsize=TEXT, ha="right", va="center", zorder=5)
    label.set_bbox({"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8})


def _draw_scale(axis: Any, at: int, values: Sequence[float], metric: str) -> tuple[float, float]:
    """Draw the axis of one score; give the values at its lower and upper end."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.0005, high + 0.0005
    if metric == CRITERION:
        low, high = high, low
    axis.axvline(at, 0.08, 0.92, color=MUTED, linewidth=0.8)
    for height, value in ((0.0, low), (1.0, high)):
        axis.annotate(
            f"{value:.3f}", (at, height), (0, 9 if height else -9), textcoords="offset points", fontsize=TEXT,
            ha="center", va="center", color=MUTED,
        )  # fmt: skip
    return low, high
