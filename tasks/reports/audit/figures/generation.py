"""Figures of the yes-or-no score and of what the reports take."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.report_generation.schema import Usage
from tasks.reports.audit.figures.layout import NORMAL, PNEUMONIA, Drawing, binned, grid_of_panels, name_rows
from tasks.shared.figures import BAD, MUTED, SMALL, new_figure


def score_figure(
    scores: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
) -> Drawing | None:
    """Draw ROC curve and reliability of the P(yes) score beside those of the classifier on the same cases.

    Args:
        scores: P(yes) of the language model, shape (cases,).
        probabilities: calibrated probabilities of the classifier, shape (cases,).
        labels: 0 or 1 for pneumonia, shape (cases,).

    Returns:
        The figure, or None without cases. Without cases of both classes there is no ROC curve.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    if not len(scores):
        return None
    figure = new_figure(3.5)
    curves, reliability = figure.subplots(1, 2)
    both = 0 < labels.sum() < len(labels)
    for name, values, color in (("P(yes)", scores, PNEUMONIA), ("classifier", probabilities, NORMAL)):
        if both:
            false_positive_rate, true_positive_rate, _ = roc_curve(labels, values)
            area = f"{name}, AUC {roc_auc_score(labels, values):.3f}"
            curves.plot(false_positive_rate, true_positive_rate, color=color, label=area)
        middle, mean, counts = binned(values, labels)
        reliability.plot(middle, mean, color=color, lw=1)
        reliability.scatter(middle, mean, s=12 + 160 * counts / counts.sum(), color=color, alpha=0.8, label=name)
    if not both:
        curves.text(0.5, 0.6, "one class only: no ROC curve", ha="center", color=MUTED)
    curves.set(xlabel="1 − specificity", ylabel="sensitivity")
    curves.set_title("ROC curve")
    reliability.set(xlabel="probability of pneumonia", ylabel="observed share of pneumonia")
    reliability.set_title("reliability (means of tenths, larger for more cases)")
    for axis, name, place in ((curves, "chance", "lower right"), (reliability, "perfect", "upper left")):
        axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label=name)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axis.legend(loc=place, framealpha=0.7)
        axis.grid(alpha=0.3)
    title = f"The question “is there pneumonia?”: P(yes) beside the classifier, {len(labels)} cases"
    return Drawing(figure, title)


def usage_figure(usage: Mapping[str, Sequence[Usage]]) -> Drawing | None:
    """Draw the tokens and seconds that a report takes, by strategy: quartiles, the middle 90 %, and the mean.

    Args:
        usage: by strategy, what each of its reports took.

    Returns:
        The figure, or None where nothing was measured.
    """
    strategies = [strategy for strategy, used in usage.items() if len(used)]
    if not strategies:
        return None
    grid, figure = grid_of_panels(3, 3, len(strategies))
    panels: tuple[tuple[str, list[list[float]]], ...] = (
        ("prompt tokens", [[used.prompt_tokens for used in usage[strategy]] for strategy in strategies]),
        ("generated tokens", [[used.generated_tokens for used in usage[strategy]] for strategy in strategies]),
        ("seconds, its share of the batch's", [[used.seconds for used in usage[s]] for s in strategies]),
    )
    for axis, (title, values) in zip(grid, panels, strict=True):
        axis.boxplot(
            values, orientation="horizontal", positions=range(len(strategies)), widths=0.5, whis=(5, 95),
            showfliers=False, showmeans=True, medianprops={"color": PNEUMONIA},
            meanprops={"marker": "D", "markersize": 4, "markerfacecolor": NORMAL, "markeredgecolor": NORMAL},
        )  # fmt: skip
        name_rows(axis, strategies)
        axis.set_xlim(0, 1.12 * max(max(value) for value in values) or 1)
        axis.set_title(title)
    for row, strategy in enumerate(strategies):
        cut = np.mean([used.finish_reason == "length" for used in usage[strategy]])
        if cut:
            grid[1].text(0.99, row - 0.34, f"{cut:.0%} cut at the limit", transform=grid[1].get_yaxis_transform(),
                         ha="right", va="center", fontsize=SMALL, color=BAD)  # fmt: skip
    return Drawing(figure, "What a report takes (box: quartiles; whiskers: middle 90 %; ◆ mean)")
