"""The five figures that say most of a stage, in words, for the pages of its runs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.shared.estimates import format_value

MOST = 5


class Headline(NamedTuple):
    """A figure in words.

    Attributes:
        metric: its name.
        title: what it is called; `{first}` and `{second}` stand for the names of the first two classes.
        meaning: what it says.
        of_two: whether it says something of two classes only; of more it would be another figure once again.
    """

    metric: str
    title: str
    meaning: str
    of_two: bool = False


_CLASSIFICATION = (
    Headline(
        "test/auc",
        "Test AUC",
        "How well the probabilities put the classes in order: 1 is perfect, 0.5 is guessing.",
    ),
    Headline("test/accuracy", "Accuracy", "Share of test images that are called correctly."),
    Headline(
        "test/balanced_accuracy", "Balanced accuracy", "Accuracy with each class counted alike, whatever its share."
    ),
    Headline("test/recall", "Sensitivity", "Share of the images of {second} that are found.", of_two=True),
    Headline("test/specificity", "Specificity", "Share of the images of {first} that are called so.", of_two=True),
    Headline(
        "test/quadratic_kappa",
        "Quadratic kappa",
        "Agreement of the grades beyond chance; a mistake counts by the square of its distance: 1 is perfect.",
    ),
    Headline(
        "test/ece", "Calibration error", "How far the probabilities are from the shares that come true: 0 is best."
    ),
    Headline("test/brier", "Brier score", "Mean squared error of the probabilities: 0 is best."),
)
_RETRIEVAL = (
    Headline(
        "loo/precision_at_1",
        "Precision at 1, within test",
        "Share of test images whose nearest other test image is of their class.",
    ),
    Headline(
        "loo/precision_at_5", "Precision at 5, within test", "Share of their class among the five nearest test images."
    ),
    Headline("loo/map", "Mean average precision", "How far up in the whole ranking those of the same class stand."),
    Headline(
        "gallery/precision_at_1",
        "Precision at 1, against train",
        "Share of test images whose nearest training image is of their class.",
    ),
)
_REPORTS = (
    Headline("reports/count", "Reports", "Written for the chosen cases, each strategy counted."),
    Headline("reports/parsed", "Readable", "Share of the reports that could be read."),
    Headline("reports/label_accuracy", "Correct label", "Share of the reports whose label is the true class."),
    Headline(
        "reports/agreement_with_classifier",
        "Agreement with the classifier",
        "Share of the reports whose label is the classifier's.",
    ),
    Headline(
        "reports/unsupported_claims_per_report",
        "Unsupported claims per report",
        "Findings that nothing in the evidence supports: 0 is best.",
    ),
)
HEADLINES: dict[str, tuple[Headline, ...]] = {
    "classification": _CLASSIFICATION,
    "retrieval": _RETRIEVAL,
    "reports": _REPORTS,
    "pipeline": (_CLASSIFICATION[0], _CLASSIFICATION[2], _RETRIEVAL[0], _RETRIEVAL[3], _REPORTS[2]),
    "cases": (
        Headline("cases/count", "Pictures", "Each counted once, however often it is there."),
        Headline("cases/counted", "Counted", "Read, and like what the classifier was made for."),
        Headline("cases/foreign", "Foreign", "Unlike what it was made for: what it says of them means nothing."),
        Headline("cases/borderline", "Borderline", "The classifier cannot tell: no class, or several, in the set."),
        Headline("cases/disagreement", "Disagreement", "Classifier, similar cases and reports do not say the same."),
    ),
    "sweep": (
        Headline("best/val/auc", "Best validation AUC", "Mean over the seeds of the combination that leads."),
        Headline("sweep/run", "Trainings", "Run by this sweep."),
        Headline("sweep/kept", "Kept", "Trainings that an earlier sweep had finished."),
        Headline("sweep/failed", "Failed", "Trainings that failed; the next sweep tries only these again."),
        Headline("sweep/pruned", "Pruned", "Trainings that fell behind and were ended early by the search."),
    ),
}
"""Figures by stage, the first that there are being shown."""
_OTHERS = {"val/auc": "Validation AUC"}


def title_of(metric: str) -> str:
    """Return what a metric is called in words; its name where it has no other."""
    known = {line.metric: line.title for lines in HEADLINES.values() for line in lines} | _OTHERS
    return known.get(metric, metric)


def headlines(
    stage: str, metrics: Mapping[str, float], labels: Sequence[str], *, several: bool = False
) -> list[tuple[str, str, str, str]]:
    """Put the figures that say most of a stage into words.

    Args:
        stage: name of the stage.
        metrics: its metrics, the bounds of intervals and the levels of chance (`chance/…`) among them.
        labels: names of the classes.
        several: whether an image may have several of them, so that each metric is a mean over them.

    Returns:
        Title, value, 95 % interval and meaning of each, at most five.
    """
    first, second, *_ = (*labels, "class 0", "class 1")
    rows = []
    for metric, title, meaning, of_two in HEADLINES.get(stage, ()):
        if metric in metrics and not (of_two and len(labels) > 2):
            low, high = metrics.get(f"{metric}_ci_low"), metrics.get(f"{metric}_ci_high")
            interval = "" if low is None or high is None else f"{low:.3f} – {high:.3f}"
            chance = metrics.get(f"chance/{metric}")
            said = meaning.format(first=first, second=second) + (f" By chance: {chance:.3f}." if chance else "")
            if several:
                said = f"Mean over the labels, each against its absence. {said}"
            rows.append((title, format_value(metrics[metric]), interval, said))
    return rows[:MOST]
