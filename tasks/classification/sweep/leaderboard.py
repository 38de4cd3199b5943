"""The leaderboard of a sweep: what each combination of settings reached over its seeds, ordered by validation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.markdown import link
from tasks.shared.markdown import document, picture, table

CRITERION = "val/balanced_log_loss"
METRICS = (
    CRITERION,
    "val/auc",
    "test/auc",
    "test/accuracy",
    "test/balanced_accuracy",
    "test/specificity",
    "train/seconds",
)
PROTOCOL = (
    "The order is by the mean class-balanced log-loss on validation, after temperature scaling, lower first; it weighs "
    "both the order of the scores and how far they can be trusted, where the AUC of validation is close to 1 for all. "
    "The test columns are for reading only: no choice is made by them. Mean ± standard deviation over the seeds, with "
    "from three seeds on the 95 % t-interval of the mean, which covers the variation between seeds but not between "
    "images."
)
FEWEST_SEEDS = 3
"""Seeds from which an interval is shown: over two it is thirteen standard errors wide to each side."""
_UNBOUNDED = (CRITERION, "train/seconds")  # all others are at most 1; none is below 0


_LINES = picture(
    "parallel_coordinates",
    "A line for each combination, from its settings to its scores: where lines end high, it did well.",
)


@dataclass(frozen=True)
class TrialResult:
    """How one training of a sweep ended.

    Attributes:
        settings: values of the fields that the sweep compares, without the seed.
        seed: the seed.
        state: `run` now, `kept` from an earlier sweep, or `failed`.
        metrics: each of `METRICS`; empty where the training failed or was pruned.
        run_id: MLflow run; empty where the training failed.
        error: why it failed.
        refused: whether it failed because its settings were refused.
        curve: class-balanced log-loss on validation after each epoch, before temperature scaling.
        pruned: whether a search ended it early.
    """

    settings: Mapping[str, str | float]
    seed: int
    state: Literal["run", "kept", "failed"]
    metrics: Mapping[str, float]
    run_id: str = ""
    error: str = ""
    refused: bool = False
    curve: Sequence[float] = ()
    pruned: bool = False


class Summary(NamedTuple):
    """One metric over the seeds.

    Attributes:
        mean: over the seeds.
        deviation: standard deviation of one seed, NaN for a single seed.
        low: lower bound of the 95 % t-interval of the mean, NaN for a single seed.
        high: upper bound.
    """

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One combination of settings.

    Attributes:
        rank: from 1, the best on validation; None where no training of the combination finished, or one was pruned.
        settings: values of the fields that the sweep compares.
        finished: trainings that finished.
        seeds: trainings that were asked for.
        kept: trainings that came from an earlier sweep.
        summaries: by metric; empty where there is no rank.
        pruned: whether a training was pruned, after which the combination has no further ones.
    """

    rank: int | None
    settings: Mapping[str, str | float]
    finished: int
    seeds: int
    kept: int
    summaries: Mapping[str, Summary]
    pruned: bool = False


def balanced_log_loss(logits: NDArray[np.floating], labels: NDArray[np.integer], temperature: float) -> float:
    """Compute the log-loss in which every class counts the same.

    Args:
        logits: log-odds of class 1, shape (images,), or one per class, shape (images, classes).
        labels: 0 … classes - 1, each of them present, shape (images,).
        temperature: divisor of the logits.

    Returns:
        Mean over the classes of the mean negative log-probability of the true class, in nats.
    """
    from scipy.special import log_expit, log_softmax

    scaled = logits.astype(np.float64) / temperature
    if scaled.ndim == 1:
        losses = -log_expit(np.where(labels == 1, scaled, -scaled))
    else:
        losses = -log_softmax(scaled, axis=1)[np.arange(len(labels)), labels]
    return float(np.mean([losses[labels == label].mean() for label in np.unique(labels)]))


def summarize(values: Sequence[float]) -> Summary:
    """Summarize one metric over seeds.

    Args:
        values: one per seed, at least one.

    Returns:
        Mean, standard deviation with Bessel's correction, and Student's 95 % interval of the mean.
    """
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) == 1:
        return Summary(mean, float("nan"), float("nan"), float("nan"))
    deviation = float(np.std(values, ddof=1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return Summary(mean, deviation, mean - half, mean + half)


def leaderboard(results: Sequence[TrialResult]) -> list[Row]:
    """Put the combinations of a sweep in order.

    Args:
        results: every training, in any order.

    Returns:
        One row per combination, the lowest mean of `CRITERION` first, and last those without a rank. Ties keep the
        order in which the combinations came.
    """
    groups: dict[tuple[tuple[str, str | float], ...], list[TrialResult]] = {}
    for result in results:
        groups.setdefault(tuple(result.settings.items()), []).append(result)
    rows = []
    for settings, group in groups.items():
        finished, pruned = [result for result in group if result.metrics], any(result.pruned for result in group)
        ranked = finished and not pruned  # the mean over those of a pruned one that finished would be of other seeds
        summaries = {name: summarize([result.metrics[name] for result in finished]) for name in METRICS if ranked}
        kept = sum(result.state == "kept" for result in group)
        rows.append(Row(None, dict(settings), len(finished), len(group), kept, summaries, pruned))
    rows.sort(key=lambda row: row.summaries[CRITERION].mean if row.summaries else float("inf"))
    return [replace(row, rank=rank if row.summaries else None) for rank, row in enumerate(rows, start=1)]


def rows_as_numbers(rows: Sequence[Row]) -> tuple[list[str], list[list[str | float | None]]]:
    """Lay the leaderboard out with one number per cell, for programs.

    Args:
        rows: the leaderboard.

    Returns:
        Column titles, and as many values per row; None stands for what is not defined.
    """
    fields = list(rows[0].settings)
    columns = ["rank", *fields, "finished", "seeds", "kept", "pruned"]
    columns += [f"{metric} {part}" for metric in METRICS for part in Summary._fields]
    cells = []
    for row in rows:
        numbers = [value for metric in METRICS for value in row.summaries.get(metric, [float("nan")] * 4)]
        defined = [None if np.isnan(number) else number for number in numbers]
        cells.append([row.rank, *row.settings.values(), row.finished, row.seeds, row.kept, int(row.pruned), *defined])
    return columns, cells


def sweep_report(
    rows: Sequence[Row],
    results: Sequence[TrialResult],
    *,
    phantoms: bool,
    address: Callable[[str], str] | None = None,
    search: str = "",
) -> str:
    """Write the report of a sweep.

    Args:
        rows: the leaderboard.
        results: every training.
        phantoms: whether the data are drawn phantoms.
        address: gives the address of the run of an id, to which the trainings lead then.
        search: of a search, what is said of it, Markdown.

    Returns:
        Markdown, whose tables are narrow enough to stand beside a sidebar.
    """
    chosen_by, read_only = METRICS[:2], METRICS[2:]
    board = table(
        ("rank", "settings", "seeds", *map(_title, chosen_by)),
        [
            (
                *_place(row),
                _seeds(row),
                *_cells(row, chosen_by),
            )
            for row in rows
        ],
    )
    tested = table(
        ("rank", "settings", *map(_title, read_only)), [(*_place(row), *_cells(row, read_only)) for row in rows]
    )
    trainings = table(
        ("seed", "settings", "this sweep", _title(CRITERION), "MLflow run, or why it failed"),
        [
            (
                result.seed,
                _settings(result.settings),
                f"{result.state}, pruned after epoch {len(result.curve)}" if result.pruned else result.state,
                result.metrics.get(CRITERION, "–"),
                result.error or (link(result.run_id[:8], address(result.run_id)) if address else result.run_id),
            )
            for result in results
        ],
    )
    sections = [
        ("Leaderboard", f"{_LINES}{board}\n{PROTOCOL}\n"),
        *([("Search", search)] if search else []),
        ("On test, for reading only", tested),
        ("Trainings", trainings),
    ]
    return document("Sweep", sections, phantoms=phantoms)


def _seeds(row: Row) -> str:
    if row.pruned:
        return "pruned"
    return str(row.seeds) if row.finished == row.seeds else f"{row.finished} of {row.seeds}"


def _place(row: Row) -> tuple[str | int, str]:
    return "–" if row.rank is None else row.rank, _settings(row.settings)


def _settings(settings: Mapping[str, str | float]) -> str:
    return ", ".join(f"{name} {shown_value(value)}" for name, value in settings.items())


def _title(metric: str) -> str:
    return metric.replace("_", " ")


def _cells(row: Row, metrics: Sequence[str]) -> list[str]:
    return [_cell(row.summaries[metric], metric, row.finished) if row.summaries else "–" for metric in metrics]


def shown_value(value: str | float) -> str:
    """Write the value of a setting, a number with at most four digits that say something."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(summary: Summary, metric: str, seeds: int) -> str:
    """Write mean, deviation and interval, which is cut to the values that the metric can have."""
    digits = 0 if metric == "train/seconds" else 3
    text = f"{summary.mean:.{digits}f}"
    if seeds > 1:
        text += f" ± {summary.deviation:.{digits}f}"
    if seeds >= FEWEST_SEEDS:
        low, high = max(summary.low, 0.0), summary.high if metric in _UNBOUNDED else min(summary.high, 1.0)
        text += f" ({low:.{digits}f} – {high:.{digits}f})"
    return text
