"""The five lines with which the report of a stage begins.

They say what was run, the result with its interval, whether it is better than the champion and than chance, what to
look at, and what not to conclude. Every figure in them is a metric of the run.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from flows.support.headlines import title_of
from models.markdown import Markdown, escape
from tasks.records.data import DatasetRecord
from tasks.shared.estimates import format_value
from tasks.shared.metric_names import class_metric

TITLES = (
    "What was run:",
    "Result, with 95 % intervals:",
    "Better than the champion, and than chance?",
    "What to look at:",
    "What not to conclude:",
)
"""What the five lines answer, in their order."""
_CAPITALS = ("AUC", "Brier")
_GUESSED_AUC = 0.5
_DIFFERENT = 0.05  # below this p-value


class Finding(NamedTuple):
    """What the lines of a stage are written from.

    Attributes:
        ran: what was run, in words.
        metrics: of the stage, the bounds of intervals and the levels of chance among them.
        dataset: its images.
        decision: what became of its product, and why; empty where nothing was to be decided.
    """

    ran: str
    metrics: Mapping[str, float]
    dataset: DatasetRecord
    decision: str


def opening(stage: str, found: Finding) -> Markdown:
    """Write the five lines of a stage.

    Args:
        stage: name of the stage.
        found: what they are written from.

    Returns:
        A numbered list; empty for a stage whose report has no such lines.
    """
    if stage not in _STAGES:
        return Markdown("")
    data, (result, compared, look, not_to_conclude) = found.dataset, _STAGES[stage]
    counts = ", ".join(f"{count} {split}" for split, count in data.counts.items())
    trial = f"Anything about the whole data: {data.trial}. " if data.trial else ""
    said = (
        f"{found.ran} on {data.title}: {counts} images of {data.size} × {data.size} pixels.",
        _list(result(found)),
        " ".join((*_verdicts(found.metrics, compared(found)), found.decision or _UNDECIDED[stage])),
        " ".join(look(found)),
        trial + not_to_conclude,
    )
    lines = zip(TITLES, said, strict=True)
    return Markdown(
        "".join(f"{number}. **{title}** {escape(text.strip())}\n" for number, (title, text) in enumerate(lines, 1))
    )


def _list(parts: Sequence[str]) -> str:
    return f"{_capital('; '.join(parts))}." if parts else "There are no figures."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _measured(metrics: Mapping[str, float], name: str, title: str = "") -> list[str]:
    """Write a metric with its interval; nothing where there is no such metric."""
    if name not in metrics:
        return []
    low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
    interval = "" if low is None or high is None else f" ({low:.3f} – {high:.3f})"
    return [f"{title or _name(name)} {format_value(metrics[name])}{interval}"]


def _verdicts(metrics: Mapping[str, float], levels: Mapping[str, float]) -> list[str]:
    """Compare metrics with their levels of chance by their intervals, those of the same verdict together."""
    said: dict[str, list[str]] = {}
    for name, chance in levels.items():
        low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
        if low is not None and high is not None:
            verdict = "Better than" if low > chance else "Worse than" if high < chance else "Not told from"
            said.setdefault(verdict, []).append(f"{_name(name)} ({chance:.3f})")
    return [f"{verdict} chance: {', '.join(names)}." for verdict, names in said.items()]


def _name(metric: str) -> str:
    """Return what a metric is called in the lines, that of a strategy of the reports with the strategy's name."""
    parts = metric.split("/")
    return f"correct label of {parts[1]}" if len(parts) == 3 and parts[0] == "reports" else _in_line(title_of(metric))


def _in_line(title: str) -> str:
    return title if title.startswith(_CAPITALS) else title[:1].lower() + title[1:]


def _classification_result(found: Finding) -> list[str]:
    names = ("test/auc", "test/accuracy", "test/balanced_accuracy")
    return [part for name in names for part in _measured(found.metrics, name)]


def _classification_compared(found: Finding) -> dict[str, float]:
    return {"test/auc": _GUESSED_AUC, "test/balanced_accuracy": 1 / len(found.dataset.labels)}


def _classification_look(found: Finding) -> list[str]:
    metrics, sides = found.metrics, ("test/recall", "test/specificity")
    said = []
    if len(found.dataset.labels) == 2 and all(side in metrics for side in sides):
        lower, higher = sorted(sides, key=lambda side: metrics[side])
        said.append(
            f"{_capital(_measured(metrics, lower)[0])} is lower than {_name(higher)}, "
            f"{format_value(metrics[higher])}: confusion matrix and failure cases say where it errs."
        )
    else:
        said.append("Which classes are taken for which: the confusion matrix says.")
    if "test/ece" in metrics:
        said.append(
            f"{_capital(_measured(metrics, 'test/ece')[0])}: the reliability diagram says how far a probability can be "
            "taken at its word."
        )
    return said


def _retrieval_result(found: Finding) -> list[str]:
    names = ("loo/precision_at_1", "loo/map", "gallery/precision_at_1")
    return [part for name in names for part in _measured(found.metrics, name)]


def _retrieval_compared(found: Finding) -> dict[str, float]:
    names = ("loo/precision_at_1", "loo/map", "gallery/precision_at_1")
    return {name: found.metrics[f"chance/{name}"] for name in names if f"chance/{name}" in found.metrics}


def _retrieval_look(found: Finding) -> list[str]:
    metrics, labels, said = found.metrics, found.dataset.labels, []
    by_class = {label: class_metric("loo/map", label) for label in labels}
    known = [label for label in labels if {by_class[label], f"chance/{by_class[label]}"} <= metrics.keys()]
    if known:
        worst = min(known, key=lambda label: metrics[by_class[label]] - metrics[f"chance/{by_class[label]}"])
        name = by_class[worst]
        said.append(
            f"{_measured(metrics, name, f'Mean average precision of {worst}')[0]} is nearest to its chance, "
            f"{format_value(metrics[f'chance/{name}'])}: see the section on failures."
        )
    drifts = {label: class_metric("drift/domain_auc", label) for label in labels}
    seen = [label for label in labels if drifts[label] in metrics]
    if seen:
        most = max(seen, key=lambda label: metrics[drifts[label]])
        said.append(
            f"Test images of {most} are told from those of train with an AUC of {format_value(metrics[drifts[most]])}, "
            "where 0.5 is not at all: see the section on drift."
        )
    return said or ["The galleries: whether what is near looks alike."]


def _strategies(metrics: Mapping[str, float]) -> list[str]:
    """Return the strategies that a label accuracy is known of, in the order in which they were scored."""
    parts = [name.split("/") for name in metrics]
    return [part[1] for part in parts if len(part) == 3 and part[0] == "reports" and part[2] == "label_accuracy"]


def _reports_result(found: Finding) -> list[str]:
    names = ("reports/count", *(f"reports/{name}/label_accuracy" for name in _strategies(found.metrics)))
    return [part for name in names for part in _measured(found.metrics, name)]


def _reports_compared(found: Finding) -> dict[str, float]:
    guessed = 1 / len(found.dataset.labels)
    return {f"reports/{name}/label_accuracy": guessed for name in _strategies(found.metrics)}


def _reports_look(found: Finding) -> list[str]:
    metrics, said = found.metrics, []
    strategies = _strategies(metrics)
    agreement = _measured(metrics, "reports/agreement_with_classifier")
    adjusted = [metrics[name] for name in (f"reports/{each}/mcnemar_p_holm" for each in strategies) if name in metrics]
    if agreement and adjusted:
        differ = "which they do not differ from" if min(adjusted) >= _DIFFERENT else "which some differ from"
        said.append(
            f"{_capital(agreement[0])}, {differ} on these cases (McNemar, least adjusted p "
            f"{format_value(min(adjusted))})."
        )
    claims = _measured(metrics, "reports/unsupported_claims_per_report")
    said += [f"{_capital(claims[0])}."] if claims else []
    for strategy in strategies:
        blank = _measured(metrics, f"reports/{strategy}/control/blank/concludes", f"{strategy} still concludes in")
        said += [f"Shown a blank picture, {blank[0]} of the reports."] if blank else []
    return said or ["One report in full, and the pages of the cases."]


def _pipeline_result(found: Finding) -> list[str]:
    names = ("test/auc", "test/accuracy", "loo/precision_at_1", "gallery/precision_at_1", "reports/label_accuracy")
    return [part for name in names for part in _measured(found.metrics, name)]


def _pipeline_compared(found: Finding) -> dict[str, float]:
    return _classification_compared(found) | _retrieval_compared(found)


def _pipeline_look(found: Finding) -> list[str]:
    return [*_classification_look(found)[:1], "The reports of the stages begin with five lines of their own."]


_ONE_TRAINING = (
    "That it would do so elsewhere or after another training: it is one training, scored on one test split of the same "
    "source, and the intervals cover the choice of test images alone. It is no diagnosis."
)
_ONE_LABEL = (
    "That near images show the same disease: a neighbour counts as right if it has the query's class, whatever it "
    "looks like. Chance differs within test and against train, so the two are not to be compared."
)
_CHOSEN_CASES = (
    "That so many reports are right in general: the cases were chosen to show correct, incorrect and borderline ones, "
    "and no expert has read the reports."
)
_UNDECIDED = {
    "classification": "It was not compared with the champion.",
    "retrieval": "It was not compared with the index in use.",
    "reports": "Reports have no champion.",
    "pipeline": "The classifier was not compared with the champion.",
}
"""What is said of a stage whose product nothing was decided about."""

_Sentences = Callable[[Finding], list[str]]
_Levels = Callable[[Finding], dict[str, float]]
_STAGES: Mapping[str, tuple[_Sentences, _Levels, _Sentences, str]] = {
    "classification": (_classification_result, _classification_compared, _classification_look, _ONE_TRAINING),
    "retrieval": (_retrieval_result, _retrieval_compared, _retrieval_look, _ONE_LABEL),
    "reports": (_reports_result, _reports_compared, _reports_look, _CHOSEN_CASES),
    "pipeline": (_pipeline_result, _pipeline_compared, _pipeline_look, _ONE_TRAINING),
}
"""Of each stage how its result, its comparison and its pointers are written, and what does not follow from it."""
