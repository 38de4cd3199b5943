"""The figures of a search: what its trials reached, one after the other, and which fields decided it."""

from typing import Any

from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from optuna.trial import TrialState

from tasks.classification.sweep.search import Search
from tasks.shared.figures import CLASS_COLORS, MUTED, SMALL, Source, new_figure, render_png

WIDE = 5
"""Times the lowest value that the highest may be on a linear scale; on a logarithmic one, less has too few ticks."""


def search_figures(search: Search, *, source: Source) -> dict[str, bytes]:
    """Draw the figures of a search.

    Args:
        search: all of whose trials have ended.
        source: what it is made from.

    Returns:
        PNG by name; none where no trial has finished, and the importances only where enough have.
    """
    if not search.trials(TrialState.COMPLETE):
        return {}
    figures = {"optimization_history": _history(search, source)}
    if search.importances():
        figures["parameter_importance"] = _importance(search, source)
    return figures


def _history(search: Search, source: Source) -> bytes:
    finished, pruned = search.trials(TrialState.COMPLETE), search.trials(TrialState.PRUNED)
    numbers, values = [trial.number + 1 for trial in finished], [float(trial.value or 0) for trial in finished]
    lowest = [min(trial.intermediate_values.values()) for trial in pruned]
    figure = new_figure(2.6)
    axis: Any = figure.subplots()
    handles = axis.plot(numbers, values, "o", color=CLASS_COLORS[0], markersize=4.5, label="finished", zorder=3)
    if pruned:
        handles += axis.plot(
            [trial.number + 1 for trial in pruned], lowest, "x", color=MUTED, markersize=6,
            label="pruned, at its lowest", zorder=3,
        )  # fmt: skip
    best = [min(values[: place + 1]) for place in range(len(values))]
    handles += axis.step(
        [*numbers, len(search.study.trials)], [*best, best[-1]], where="post", color=CLASS_COLORS[1], linewidth=1.2,
        label="best so far",
    )  # fmt: skip
    axis.set(xlabel="trial", ylabel="class-balanced log-loss\non validation")
    if max(values + lowest) > WIDE * min(values + lowest):  # what is pruned early may be far above all others
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    return render_png(
        figure, source, title="What each trial of the search reached on validation", legend=handles,
        shown=f"{len(search.study.trials)} trials, {len(finished)} finished, {len(pruned)} pruned",
    )  # fmt: skip


def _importance(search: Search, source: Source) -> bytes:
    shares = dict(reversed(search.importances().items()))
    figure = new_figure(0.55 + 0.25 * len(shares))
    axis: Any = figure.subplots()
    bars = axis.barh(
        [field.replace("_", " ") for field in shares], list(shares.values()), color=CLASS_COLORS[0], height=0.62
    )
    axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=SMALL)
    axis.set(xlim=(0, 1.1), xlabel="share of the importance of all fields")
    axis.spines[["top", "right"]].set_visible(False)
    return render_png(
        figure, source, title="How much each field decides whether a trial is among the best tenth on validation",
        shown=f"PED-ANOVA over {len(search.trials(TrialState.COMPLETE))} finished trials",
    )  # fmt: skip
