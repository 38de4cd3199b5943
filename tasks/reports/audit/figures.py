"""Figures of the audit; each function gives the bytes of one PNG, or None where there is nothing to draw.

Most take the audit's metrics as MLflow has them: `reports/<strategy>/<metric>`, with the bounds of the 95 % interval,
where there is one, under `<metric>_ci_low` and `<metric>_ci_high`. Strategies stand in the order in which the mapping
first names them, and one that lacks a metric is left out of its panel.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from models.report_generation.schema import Usage
from tasks.shared.figures import BAD, CLASS_COLORS, MUTED, new_figure, render_png

_NORMAL, _PNEUMONIA = CLASS_COLORS
_OUTCOMES = {
    "both_right": ("both right", "#1d5f95", "white"),
    "only_report_right": ("only the report right", "#8fc1e3", "black"),
    "only_classifier_right": ("only the classifier right", "#f2c48d", "black"),
    "both_wrong": ("both wrong", "#b3261e", "white"),
}
"""Metric of each cell of the four-way table, with its name, colour and the colour of its number."""

_CONTROLS = {
    "same_label": "another patient, same class",
    "other_label": "another patient, other class",
    "blank": "black image",
    "noise": "noise image",
    "no_image": "no image",
    "flipped": "probability flipped",
    "even": "probability one half",
    "no_probability": "no probability",
}
_EFFECTS = {
    "flip_rate": ("label changed", "o", _NORMAL),
    "follow_rate": ("label as suggested", "D", "#c77800"),
    "pneumonia": ("says pneumonia all the same", "^", _PNEUMONIA),
    "score_change": ("mean change of P(yes)", "s", "#8a4fb0"),
}
"""Metric of each effect of a control, with its name, marker and colour."""

_STATUSES = ("affirmed", "hedged", "denied")
_BINS = np.linspace(0, 1, 11)
_BEHIND = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5}
_MOST_CLAIMS = 2.0  # a text that repeats one claim over and over must not pale all others


class Panel(NamedTuple):
    """One metric, a dot a strategy.

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


def label_scores_figure(
    metrics: Mapping[str, float], classifier: Mapping[str, float], *, phantoms: bool, random_weights: bool = False
) -> bytes | None:
    """Draw accuracy, sensitivity and specificity of each strategy's labels, with the classifier's as a line.

    Args:
        metrics: `label_accuracy`, `sensitivity` and `specificity` of each strategy.
        classifier: the same metrics of the classifier on the same cases, by their bare name; may lack any.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where no strategy has one of the metrics.
    """
    names = {"label_accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity"}
    panels = [Panel(name, metric, reference=classifier.get(metric)) for metric, name in names.items()]
    lines = " (dashed: the classifier on the same cases)" if classifier else ""
    title = f"Labels against the truth, with 95 % intervals{lines}"
    return dots_figure(metrics, panels, title, phantoms=phantoms, random_weights=random_weights)


def reticence_figure(metrics: Mapping[str, float], *, phantoms: bool, random_weights: bool = False) -> bytes | None:
    """Draw how far the reports of each strategy lean to normal, and how often they do not commit themselves.

    Args:
        metrics: `pneumonia_called_normal`, `normal_called_pneumonia`, `conservative_bias` (their difference),
            `hedging_rate`, `not_assessable_reports` and `unparsed_rate` of each strategy.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where no strategy has one of the metrics.
    """
    panels = [
        Panel("pneumonia called normal", "pneumonia_called_normal"),
        Panel("normal called pneumonia", "normal_called_pneumonia"),
        Panel("their difference: above 0, leans to normal", "conservative_bias", lowest=-1, reference=0),
        Panel("reports that hedge", "hedging_rate"),
        Panel("reports with a “not assessable”", "not_assessable_reports"),
        Panel("texts that cannot be read", "unparsed_rate"),
    ]
    title = "Leaning to normal, and not committing oneself, with 95 % intervals"
    return dots_figure(metrics, panels, title, phantoms=phantoms, random_weights=random_weights)


def collapse_figure(metrics: Mapping[str, float], *, phantoms: bool, random_weights: bool = False) -> bytes | None:
    """Draw how much the texts of each strategy repeat one another.

    Args:
        metrics: `duplicate_rate`, `text_similarity`, `distinct_1` and `distinct_2` of each strategy.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where no strategy has one of the metrics.
    """
    panels = [
        Panel("impressions that equal another's", "duplicate_rate"),
        Panel("mean similarity of impressions", "text_similarity"),
        Panel("different words over all words", "distinct_1"),
        Panel("different word pairs over all pairs", "distinct_2"),
    ]
    title = "Collapse to a template: are the texts on different images the same?"
    return dots_figure(metrics, panels, title, phantoms=phantoms, random_weights=random_weights)


def stability_figure(metrics: Mapping[str, float], *, phantoms: bool, random_weights: bool = False) -> bytes | None:
    """Draw how often each strategy says the same again: in other words of the question, and in a batch of its own.

    Args:
        metrics: `control/paraphrase/consistency`, `control/alone/identical_label` and `control/alone/identical_text` of
            each strategy.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where no strategy has one of the metrics.
    """
    panels = [
        Panel("same label, question paraphrased", "control/paraphrase/consistency"),
        Panel("same label, batch of one", "control/alone/identical_label"),
        Panel("same text, batch of one", "control/alone/identical_text"),
    ]
    title = "The same question again, with 95 % intervals"
    return dots_figure(metrics, panels, title, phantoms=phantoms, random_weights=random_weights)


def dots_figure(
    metrics: Mapping[str, float], panels: Sequence[Panel], title: str, *, phantoms: bool, random_weights: bool = False
) -> bytes | None:
    """Draw one panel a metric, with one row a strategy: a dot, its interval and its value.

    Args:
        metrics: value by MLflow name.
        panels: what to draw; those that no strategy has are left out.
        title: heading of the figure.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where there is no panel.
    """
    panels = [panel for panel in panels if _strategies(metrics, panel.metric)]
    if not panels:
        return None
    strategies = _strategies(metrics, *(panel.metric for panel in panels))
    grid, figure = _grid(len(panels), 2 if len(panels) == 4 else 3, len(strategies), title)
    for panel, axis in zip(panels, grid, strict=True):
        _rows(axis, strategies)
        for row, strategy in enumerate(strategies):
            value = metrics.get(f"reports/{strategy}/{panel.metric}")
            if value is not None:
                _dot(axis, row, value, _interval(metrics, strategy, panel.metric), "o", _NORMAL)
                axis.text(value, row - 0.2, f"{value:.2f}", ha="center", va="bottom", fontsize=7, bbox=_BEHIND)
        if panel.reference is not None:
            axis.axvline(panel.reference, color=MUTED, ls="--", lw=1.2)
        axis.set_xlim(panel.lowest - 0.08, 1.08)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set_title(panel.title, fontsize=9)
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


def agreement_figure(metrics: Mapping[str, float], *, phantoms: bool, random_weights: bool = False) -> bytes | None:
    """Draw the four-way table of report and classifier, right and wrong, as one bar a strategy, with Cohen's κ.

    Args:
        metrics: `both_right`, `only_report_right`, `only_classifier_right` and `both_wrong` of each strategy, as counts
            or shares; `kappa` and, where strategies are compared, `mcnemar_p_holm`, both of which may be missing.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where no strategy has the four figures.
    """
    cells = {
        strategy: [metrics.get(f"reports/{strategy}/{name}", 0.0) for name in _OUTCOMES]
        for strategy in _strategies(metrics, *_OUTCOMES)
    }
    cells = {strategy: values for strategy, values in cells.items() if sum(values)}
    if not cells:
        return None
    figure = new_figure(10.5, 1.5 + 0.42 * len(cells))
    figure.suptitle("Reports and classifier: who is right? Cohen's κ is of their labels", fontsize=10)
    axis = figure.subplots()
    _rows(axis, list(cells))
    axis.grid(visible=False)
    for row, (strategy, values) in enumerate(cells.items()):
        shares = np.array(values) / sum(values)
        for start, share, (_, color, ink) in zip(shares.cumsum() - shares, shares, _OUTCOMES.values(), strict=True):
            axis.barh(row, share, 0.72, left=start, color=color, edgecolor="white")
            if share >= 0.03:
                axis.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", color=ink, fontsize=8)
        axis.text(1.02, row, _kappa(metrics, strategy), va="center", fontsize=8)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    handles = [
        Line2D([], [], marker="s", ls="", ms=8, color=color, label=name) for name, color, _ in _OUTCOMES.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False, borderaxespad=1.6)
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


def claims_figure(
    claims: Mapping[str, Sequence[Sequence[tuple[str, str]]]],
    kinds: Sequence[str],
    *,
    phantoms: bool,
    random_weights: bool = False,
) -> bytes | None:
    """Draw how many unsupported claims of each kind a report makes, by strategy and by what it says of them.

    Args:
        claims: by strategy, the claims of each of its reports as pairs of kind and status; an empty sequence for a
            report without any.
        kinds: kinds to draw, from the top.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where there are no reports.
    """
    strategies = [strategy for strategy, reports in claims.items() if len(reports)]
    if not strategies or not kinds:
        return None
    rates = np.zeros((len(_STATUSES), len(kinds), len(strategies)))
    for column, strategy in enumerate(strategies):
        for kind, status in (claim for report in claims[strategy] for claim in report):
            if status in _STATUSES and kind in kinds:
                rates[_STATUSES.index(status), kinds.index(kind), column] += 1
        rates[:, :, column] /= len(claims[strategy])
    figure = new_figure(2.6 + 3 * max(1.5, 0.62 * len(strategies)), 2.2 + 0.36 * len(kinds))
    figure.suptitle("Claims a report that the image cannot support", fontsize=10)
    axes: Any = figure.subplots(1, len(_STATUSES), sharey=True)
    highest = float(np.clip(rates.max(), 0.1, _MOST_CLAIMS))
    for axis, status, values in zip(axes, _STATUSES, rates, strict=True):
        shown = axis.imshow(values, cmap="Oranges", vmin=0, vmax=highest, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if value > 0.6 * highest else "black" if value else MUTED
            axis.text(column, row, f"{value:.2f}" if value else "0", ha="center", va="center", fontsize=7, color=ink)
        axis.set_xticks(range(len(strategies)), strategies, rotation=40, ha="right", fontsize=8)
        axis.set_yticks(range(len(kinds)), kinds, fontsize=8)
        axis.set_title(f"{status} ({values.sum(axis=0).mean():.2f} a report)", fontsize=9)
    extend = "max" if rates.max() > highest else "neither"
    figure.colorbar(shown, ax=axes, label="claims a report", shrink=0.8, pad=0.01, extend=extend)
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


def controls_figure(metrics: Mapping[str, float], *, phantoms: bool, random_weights: bool = False) -> bytes | None:
    """Draw what each control does to the labels (and scores) of each strategy: one panel a control, one row a strategy.

    Args:
        metrics: `control/<control>/flip_rate`, `follow_rate`, `pneumonia` and `score_change` of each strategy.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where no strategy has one of the metrics.
    """
    paths = {control: [f"control/{control}/{effect}" for effect in _EFFECTS] for control in _CONTROLS}
    controls = [control for control in _CONTROLS if _strategies(metrics, *paths[control])]
    if not controls:
        return None
    strategies = _strategies(metrics, *(path for control in controls for path in paths[control]))
    title = "What changes when the image or the probability does, with 95 % intervals"
    grid, figure = _grid(len(controls), 4, len(strategies), title)
    drawn = set()
    for control, axis in zip(controls, grid, strict=True):
        _rows(axis, strategies)
        axis.set_title(_CONTROLS[control], fontsize=9)
        axis.set_xlim(-0.05, 1.05)
        present = [effect for effect in _EFFECTS if _strategies(metrics, f"control/{control}/{effect}")]
        drawn |= set(present)
        for row, strategy in enumerate(strategies):
            for place, effect in enumerate(present):
                path = f"control/{control}/{effect}"
                value = metrics.get(f"reports/{strategy}/{path}")
                if value is not None:
                    _, marker, color = _EFFECTS[effect]
                    level = row + 0.22 * (place - (len(present) - 1) / 2)
                    _dot(axis, level, value, _interval(metrics, strategy, path), marker, color)
    handles = [
        Line2D([], [], marker=marker, ls="", color=color, label=name)
        for effect, (name, marker, color) in _EFFECTS.items()
        if effect in drawn
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False, borderaxespad=1.6)
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


def anchoring_figure(
    metrics: Mapping[str, float],
    told: Mapping[str, Sequence[tuple[float, float]]],
    *,
    phantoms: bool,
    random_weights: bool = False,
) -> bytes | None:
    """Draw how what a strategy concludes depends on the probability that it is told.

    Args:
        metrics: `anchoring_slope` of each strategy, which may be missing.
        told: by strategy, pairs of the probability told and the outcome: 1 for the label pneumonia and 0 for normal, or
            P(yes). Strategies without pairs are left out.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes, or None where no strategy was told a probability.
    """
    strategies = [strategy for strategy, pairs in told.items() if len(pairs)]
    if not strategies:
        return None
    columns = min(3, len(strategies))
    rows = -(-len(strategies) // columns)
    figure = new_figure(max(4.6, 3.4 * columns), 3.2 * rows + 0.9)
    title = "Conclusion over the probability told (dots: means of tenths, larger for more answers)"
    figure.suptitle(title, fontsize=10, wrap=True)
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(strategies) :]:
        axis.axis("off")
    for strategy, axis in zip(strategies, axes.flat, strict=False):
        shown, outcomes = np.array(told[strategy], dtype=np.float64).T
        middle, mean, counts = _binned(shown, outcomes)
        axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label="repeats it")
        axis.scatter(middle, mean, s=12 + 160 * counts / counts.sum(), color=_NORMAL, alpha=0.8, zorder=3)
        slope = metrics.get(f"reports/{strategy}/anchoring_slope")
        if slope is not None:
            ends = np.array([shown.min(), shown.max()])
            words = f"slope {slope:.2f}{_bounds(_interval(metrics, strategy, 'anchoring_slope'))}"
            line = outcomes.mean() + slope * (ends - shown.mean())
            axis.plot(ends, line, color=_PNEUMONIA, lw=1.5, label=words)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.06, 1.06), xlabel="probability told")
        axis.set_title(f"{strategy} (n = {len(shown)})", fontsize=9)
        axis.legend(loc="upper left", fontsize=7)
        axis.grid(alpha=0.3)
    for row in axes:
        row[0].set_ylabel("share of pneumonia, or P(yes)", fontsize=8)
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


def score_figure(
    scores: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    phantoms: bool,
    random_weights: bool = False,
) -> bytes | None:
    """Draw ROC curve and reliability of the P(yes) score beside those of the classifier on the same cases.

    Args:
        scores: P(yes) of the language model, shape (cases,).
        probabilities: calibrated probabilities of the classifier, shape (cases,).
        labels: 0 or 1 for pneumonia, shape (cases,).
        phantoms: whether the data are drawn phantoms.
        random_weights: whether the language model has random weights.

    Returns:
        PNG bytes, or None without cases. Without cases of both classes there is no ROC curve.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    if not len(scores):
        return None
    figure = new_figure(9.4, 4.8)
    figure.suptitle(
        f"The question “is there pneumonia?”: P(yes) beside the classifier, {len(labels)} cases", fontsize=10
    )
    curves, reliability = figure.subplots(1, 2)
    both = 0 < labels.sum() < len(labels)
    for name, values, color in (("P(yes)", scores, _PNEUMONIA), ("classifier", probabilities, _NORMAL)):
        if both:
            false_positive_rate, true_positive_rate, _ = roc_curve(labels, values)
            area = f"{name}, AUC {roc_auc_score(labels, values):.3f}"
            curves.plot(false_positive_rate, true_positive_rate, color=color, label=area)
        middle, mean, counts = _binned(values, labels)
        reliability.plot(middle, mean, color=color, lw=1)
        reliability.scatter(middle, mean, s=12 + 160 * counts / counts.sum(), color=color, alpha=0.8, label=name)
    if not both:
        curves.text(0.5, 0.6, "one class only: no ROC curve", ha="center", color=MUTED)
    curves.set(xlabel="1 − specificity", ylabel="sensitivity")
    curves.set_title("ROC curve", fontsize=9)
    reliability.set(xlabel="probability of pneumonia", ylabel="observed share of pneumonia")
    reliability.set_title("reliability (means of tenths, larger for more cases)", fontsize=9)
    for axis, name, place in ((curves, "chance", "lower right"), (reliability, "perfect", "upper left")):
        axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label=name)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axis.legend(loc=place, fontsize=8)
        axis.grid(alpha=0.3)
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


def usage_figure(usage: Mapping[str, Sequence[Usage]], *, phantoms: bool, random_weights: bool = False) -> bytes | None:
    """Draw the tokens and seconds that a report takes, by strategy: quartiles, the middle 90 %, and the mean.

    Args:
        usage: by strategy, what each of its reports took.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether the language model has random weights.

    Returns:
        PNG bytes, or None where nothing was measured.
    """
    strategies = [strategy for strategy, used in usage.items() if len(used)]
    if not strategies:
        return None
    grid, figure = _grid(3, 3, len(strategies), "What a report takes (box: quartiles; whiskers: middle 90 %; ◆ mean)")
    panels: tuple[tuple[str, list[list[float]]], ...] = (
        ("prompt tokens", [[used.prompt_tokens for used in usage[strategy]] for strategy in strategies]),
        ("generated tokens", [[used.generated_tokens for used in usage[strategy]] for strategy in strategies]),
        ("seconds, its share of the batch's", [[used.seconds for used in usage[s]] for s in strategies]),
    )
    for axis, (title, values) in zip(grid, panels, strict=True):
        axis.boxplot(
            values, orientation="horizontal", positions=range(len(strategies)), widths=0.5, whis=(5, 95),
            showfliers=False, showmeans=True, medianprops={"color": _PNEUMONIA},
            meanprops={"marker": "D", "markersize": 4, "markerfacecolor": _NORMAL, "markeredgecolor": _NORMAL},
        )  # fmt: skip
        _rows(axis, strategies)
        axis.set_xlim(0, 1.12 * max(max(value) for value in values) or 1)
        axis.set_title(title, fontsize=9)
    for row, strategy in enumerate(strategies):
        cut = np.mean([used.finish_reason == "length" for used in usage[strategy]])
        if cut:
            grid[1].text(0.99, row - 0.34, f"{cut:.0%} cut at the limit", transform=grid[1].get_yaxis_transform(),
                         ha="right", va="center", fontsize=6.5, color=BAD)  # fmt: skip
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


def _strategies(metrics: Mapping[str, float], *suffixes: str) -> list[str]:
    """Name the strategies that have at least one of some metrics."""
    parts = (name.split("/", 2) for name in metrics)
    return list(dict.fromkeys(part[1] for part in parts if len(part) == 3 and part[2] in suffixes))


def _interval(metrics: Mapping[str, float], strategy: str, metric: str) -> tuple[float, float] | None:
    low, high = (metrics.get(f"reports/{strategy}/{metric}_ci_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def _bounds(interval: tuple[float, float] | None) -> str:
    return f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""


def _kappa(metrics: Mapping[str, float], strategy: str) -> str:
    kappa, p_value = (metrics.get(f"reports/{strategy}/{name}") for name in ("kappa", "mcnemar_p_holm"))
    words = "κ unknown" if kappa is None else f"κ {kappa:.2f}{_bounds(_interval(metrics, strategy, 'kappa'))}"
    if p_value is None:
        return words
    return f"{words}\nMcNemar p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'} (Holm)"


def _grid(panels: int, columns: int, rows: int, title: str) -> tuple[list[Axes], Any]:
    """Make a figure of panels that share their rows' names, as many panels side by side as there are columns."""
    columns = min(columns, panels)
    lines = -(-panels // columns)
    figure = new_figure(max(5.4, 2.0 + 2.9 * columns), 0.9 + lines * (0.75 + 0.36 * rows))
    figure.suptitle(title, fontsize=10)
    axes: Any = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis in axes.flat[panels:]:
        axis.axis("off")
    return list(axes.flat[:panels]), figure


def _rows(axis: Any, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_ylim(len(names) - 0.5, -0.65)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(alpha=0.3)


def _dot(axis: Any, row: float, value: float, interval: tuple[float, float] | None, marker: str, color: str) -> None:
    if interval:
        axis.plot(interval, [row, row], "-", color=color, lw=1.6, alpha=0.6)
    axis.plot(value, row, marker, color=color, ms=5)


def _binned(
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
