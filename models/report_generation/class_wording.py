"""How the template words the class of a picture that is no chest X-ray: of any classes, by name."""

from collections.abc import Sequence
from typing import NamedTuple

from models.report_generation.schema import Case, Label, Presence

_BANDS: tuple[tuple[float, str, str, Presence], ...] = (
    (0.9, "consistent with {label}", "is consistent with {label}", "present"),
    (0.625, "{label} probable", "is probably {label}", "present"),
    (0.375, "{label} possible", "is possibly {label}", "uncertain"),
    (0.0, "{label} likelier than any other class", "is sooner {label} than any other class", "uncertain"),
)
"""Least probability, certainty, sentence and presence, with the bounds of the template of the chest X-rays."""


class Verdict(NamedTuple):
    """What the classifier's probability comes to.

    Attributes:
        sentences: for the impression.
        certainty: in a few words.
        presence: whether what is looked for is there.
        confidence: probability of the label, or None without a label.
    """

    sentences: str
    certainty: str
    presence: Presence
    confidence: float | None = None


NO_VERDICT = Verdict("No probability of the classifier was given, and so no label.", "not judged", "not assessable")


def class_verdict(case: Case) -> Verdict:
    """Word what the classifier says of a picture.

    Args:
        case: the evidence.

    Returns:
        The words.
    """
    if case.probability is None or case.label is None:
        return NO_VERDICT
    other = case.other(case.label)
    of_label = case.probability if case.label == case.labels[1] else 1 - case.probability
    if not case.two_classes:
        figures = f"calibrated probability {of_label:.2f}; next: {other}, {case.threshold:.2f}"
    else:
        threshold = case.threshold if case.label == case.labels[1] else 1 - case.threshold
        figures = f"calibrated probability {of_label:.2f}, operating threshold {threshold:.2f}"
    certainty, sentence, presence = next(band[1:] for band in _BANDS if of_label >= band[0])
    named = {"label": case.label}
    said = f"For the classifier the image {sentence.format(**named)} ({figures})."
    if case.two_classes and of_label < 0.5:
        # Only with a threshold far from one half: the label follows the threshold.
        said += f" By probability it would be {other}: the two disagree, so read with caution."
        presence = "uncertain"
    return Verdict(said, certainty.format(**named), presence, of_label)


def class_limitations(height: int, width: int, labels: Sequence[Label]) -> tuple[str, ...]:
    """Say what a reader must know of a report on a picture of any kind.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        labels: names of all classes.
    """
    return (
        f"At {height}×{width} pixels nothing but the class is judged, and nothing else is said.",
        "The dataset holds no clinical data: no age, sex, symptoms or earlier images.",
        "The heat map shows what raised the classifier's score, not where anything is; left and right are those of the "
        "image.",
        f"The classifier knows {len(labels)} classes: anything else an image shows is labelled as one of them.",
        "Cases that look alike to a network need not be of one class.",
    )
