"""Figure of report and classifier: whose label is correct?"""

from collections.abc import Mapping

import numpy as np

from tasks.reports.audit.figures.layout import Drawing, bounds, interval_of, markers, name_rows, strategies_with
from tasks.shared.figures import SMALL, new_figure

_OUTCOMES = {
    "both_right": ("both correct", "#1d5f95", "white"),
    "only_report_right": ("only the report correct", "#8fc1e3", "black"),
    "only_classifier_right": ("only the classifier correct", "#f2c48d", "black"),
    "both_wrong": ("both incorrect", "#b3261e", "white"),
}
"""Metric of each cell of the four-way table, with its name, colour and the colour of its number."""


def agreement_figure(metrics: Mapping[str, float]) -> Drawing | None:
    """Draw the four-way table of report and classifier, correct and incorrect, as one bar per strategy, with Cohen's κ.

    Args:
        metrics: `both_right`, `only_report_right`, `only_classifier_right` and `both_wrong` of each strategy, as counts
            or shares; `kappa` and, where strategies are compared, `mcnemar_p_holm`, both of which may be missing.

    Returns:
        The figure, or None where no strategy has the four figures.
    """
    cells = {
        strategy: [metrics.get(f"reports/{strategy}/{name}", 0.0) for name in _OUTCOMES]
        for strategy in strategies_with(metrics, *_OUTCOMES)
    }
    cells = {strategy: values for strategy, values in cells.items() if sum(values)}
    if not cells:
        return None
    figure = new_figure(0.5 + 0.42 * len(cells))
    axis = figure.subplots()
    name_rows(axis, list(cells))
    axis.grid(visible=False)
    for row, (strategy, values) in enumerate(cells.items()):
        shares = np.array(values) / sum(values)
        for start, share, (_, color, ink) in zip(shares.cumsum() - shares, shares, _OUTCOMES.values(), strict=True):
            axis.barh(row, share, 0.72, left=start, color=color, edgecolor="white")
            if share >= 0.03:
                axis.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", color=ink, fontsize=SMALL)
        axis.text(1.02, row, _kappa(metrics, strategy), va="center", fontsize=SMALL)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    legend = markers({name: ("s", color, 8) for name, color, _ in _OUTCOMES.values()})
    return Drawing(figure, "Reports and classifier: whose label is correct? Cohen's κ is of their labels", legend)


def _kappa(metrics: Mapping[str, float], strategy: str) -> str:
    kappa, p_value = (metrics.get(f"reports/{strategy}/{name}") for name in ("kappa", "mcnemar_p_holm"))
    words = "κ unknown" if kappa is None else f"κ {kappa:.2f}{bounds(interval_of(metrics, strategy, 'kappa'))}"
    if p_value is None:
        return words
    return f"{words}\nMcNemar p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'} (Holm)"
