"""What the figures of the audit share: panels with a row per strategy, dots with intervals, means of tenths.

Metrics come as MLflow has them: `reports/<strategy>/<metric>`, with the bounds of the 95 % interval, where there is
one, under `<metric>_ci_low` and `<metric>_ci_high`. Strategies stand in the order in which the mapping first names
them, and one that lacks a metric is left out of its panel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from tasks.shared.figures import CLASS_COLORS, Source, new_figure, render_png

NORMAL, PNEUMONIA = CLASS_COLORS
_BINS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Drawing:
    """A figure before it is rendered.

    Attributes:
        figure: its body.
        title: its heading.
        legend: handles that are explained below it.
    """

    figure: Figure
    title: str
    legend: Sequence[Patch | Line2D] = ()

    def png(self, source: Source, shown: str) -> bytes:
        """Render it, with what it is made from and what of that it shows."""
        return render_png(self.figure, source, title=self.title, shown=shown, legend=self.legend)


def strategies_with(metrics: Mapping[str, float], *suffixes: str) -> list[str]:
    """Name the strategies that have at least one of some metrics."""
    parts = (name.split("/", 2) for name in metrics)
    return list(dict.fromkeys(part[1] for part in parts if len(part) == 3 and part[2] in suffixes))


def interval_of(metrics: Mapping[str, float], strategy: str, metric: str) -> tuple[float, float] | None:
    """Return the bounds of a metric's interval, or None where it has none."""
    low, high = (metrics.get(f"reports/{strategy}/{metric}_ci_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def bounds(interval: tuple[float, float] | None) -> str:
    """Write an interval behind its value."""
    return f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""


def grid_of_panels(panels: int, columns: int, rows: int) -> tuple[list[Axes], Figure]:
    """Make a figure of panels that share their rows' names, as many panels side by side as there are columns."""
    columns = min(columns, panels)
    lines = -(-panels // columns)
    figure = new_figure(lines * (0.65 + 0.36 * rows))
    axes: Any = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis in axes.flat[panels:]:
        axis.axis("off")
    return list(axes.flat[:panels]), figure


def name_rows(axis: Any, names: Sequence[str]) -> None:
    """Give an axis one row per name, from the top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.65)
    axis.grid(alpha=0.3)


def draw_dot(
    axis: Any, row: float, value: float, interval: tuple[float, float] | None, marker: str, color: str
) -> None:
    """Draw a value in its row, with its interval."""
    if interval:
        axis.plot(interval, [row, row], "-", color=color, lw=1.6, alpha=0.6)
    axis.plot(value, row, marker, color=color, ms=5)


def binned(
    values: NDArray[np.floating], outcomes: NDArray[np.floating] | NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Take the means of values and outcomes, and the counts, over the tenths of [0, 1] that hold any."""
    bins = np.clip(np.digitize(values, _BINS) - 1, 0, len(_BINS) - 2)
    counts = np.bincount(bins, minlength=len(_BINS) - 1)
    used = counts > 0
    return (
        np.bincount(bins, values, len(counts))[used] / counts[used],
        np.bincount(bins, outcomes, len(counts))[used] / counts[used],
        counts[used],
    )


def markers(entries: Mapping[str, tuple[str, str, float]]) -> list[Patch | Line2D]:
    """Explain markers, for a legend.

    Args:
        entries: marker, colour and size in points by name.

    Returns:
        Handles.
    """
    return [
        Line2D([], [], marker=marker, ls="", ms=size, color=color, label=name)
        for name, (marker, color, size) in entries.items()
    ]
