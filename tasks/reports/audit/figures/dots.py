"""Figures of one dot per strategy: labels against the truth, reticence, collapse and stability."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from tasks.reports.audit.figures.layout import (
    NORMAL,
    Drawing,
    draw_dot,
    grid_of_panels,
    interval_of,
    name_rows,
    strategies_with,
)
from tasks.shared.figures import MUTED, SMALL

_BEHIND = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5}


class Panel(NamedTuple):
    """One metric, one dot per strategy.

    Attributes:
        title: what it is.
        metric: its name after `reports/<strategy>/`.
        lowest: left end of the axis.
        reference: where to draw a line, or None.
    """

    title: str
    metric: str
    lowest: float = 0.0
    reference: float | None = None


DOT_FIGURES: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "reticence": (
        "Leaning to normal, and not committing oneself, with 95 % intervals",
        (
            Panel("pneumonia called normal", "pneumonia_called_normal"),
            Panel("normal called pneumonia", "normal_called_pneumonia"),
            Panel("difference (> 0: to normal)", "conservative_bias", lowest=-1, reference=0),
            Panel("reports that hedge", "hedging_rate"),
            Panel("reports with a “not assessable”", "not_assessable_reports"),
            Panel("texts that cannot be read", "unparsed_rate"),
        ),
    ),
    "stability": (
        "The same question again, with 95 % intervals",
        (
            Panel("same label, question paraphrased", "control/paraphrase/consistency"),
            Panel("same label, other companions", "control/companions/identical_label"),
            Panel("same text, other companions", "control/companions/identical_text"),
            Panel("same label, batch of one", "control/alone/identical_label"),
            Panel("same text, batch of one", "control/alone/identical_text"),
        ),
    ),
    "collapse": (
        "Collapse to a template: are the texts on different images the same?",
        (
            Panel("impressions that equal another's", "duplicate_rate"),
            Panel("mean similarity of impressions", "text_similarity"),
            Panel("different words over all words", "distinct_1"),
            Panel("different word pairs over all pairs", "distinct_2"),
        ),
    ),
}
"""Title and panels by the name of the figure."""


def label_scores_figure(metrics: Mapping[str, float], classifier: Mapping[str, float]) -> Drawing | None:
    """Draw accuracy, sensitivity and specificity of each strategy's labels, with the classifier's as a line.

    Args:
        metrics: `label_accuracy`, `sensitivity` and `specificity` of each strategy.
        classifier: the same metrics of the classifier on the same cases, by their bare name; may lack any.

    Returns:
        The figure, or None where no strategy has one of the metrics.
    """
    names = {"label_accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity"}
    panels = [Panel(name, metric, reference=classifier.get(metric)) for metric, name in names.items()]
    lines = " (dashed: the classifier on the same cases)" if classifier else ""
    title = f"Labels against the truth, with 95 % intervals{lines}"
    return dots_figure(metrics, panels, title)


def dots_figure(
    metrics: Mapping[str, float],
    panels: Sequence[Panel],
    title: str,
) -> Drawing | None:
    """Draw one panel per metric, with one row per strategy: a dot, its interval and its value.

    Args:
        metrics: value by MLflow name.
        panels: what to draw; those that no strategy has are left out.
        title: heading of the figure.

    Returns:
        The figure, or None where there is no panel.
    """
    panels = [panel for panel in panels if strategies_with(metrics, panel.metric)]
    if not panels:
        return None
    strategies = strategies_with(metrics, *(panel.metric for panel in panels))
    grid, figure = grid_of_panels(len(panels), 2 if len(panels) == 4 else 3, len(strategies))
    for panel, axis in zip(panels, grid, strict=True):
        name_rows(axis, strategies)
        for row, strategy in enumerate(strategies):
            value = metrics.get(f"reports/{strategy}/{panel.metric}")
            if value is not None:
                draw_dot(axis, row, value, interval_of(metrics, strategy, panel.metric), "o", NORMAL)
                axis.text(value, row - 0.2, f"{value:.2f}", ha="center", va="bottom", fontsize=SMALL, bbox=_BEHIND)
        if panel.reference is not None:
            axis.axvline(panel.reference, color=MUTED, ls="--", lw=1.2)
        axis.set_xlim(panel.lowest - 0.08, 1.08)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set_title(panel.title)
    return Drawing(figure, title)
