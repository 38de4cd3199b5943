"""What is known of a case in sentences, for pages and figures."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from models.report_generation.schema import Answer
from models.text import printable
from tasks.cases.case import CONCERNS, Case, Concern, Reliability, Screening, SimilarCases

LIMITATIONS = (
    "The classifier saw only the middle square of the picture, shrunk to a few pixels: what is small was not seen.",
    "A heat map shows what raised or lowered the classifier's score, not where a disease is.",
    "Similar cases look alike to an encoder. Their labels are theirs, not this picture's.",
    "Coverage was set on copies of validation images, corrupted where that can be done, and reliability measured on "
    "these images. Neither need hold for pictures from elsewhere.",
    "No radiologist has read this. Unsupported claims in reports are found by rules over words.",
)
"""What a reader must know before relying on a page."""

_COUNTED: dict[Concern, str] = {
    "unreadable": "unreadable",
    "foreign": "foreign (not counted)",
    "borderline": "borderline",
    "disagreement": "with disagreement",
    "none": "with nothing to look at first",
}


class Voice(NamedTuple):
    """What one of those who judge a picture says of it.

    Attributes:
        who: the classifier, the similar cases of an encoder, or a report.
        says: a class, or why it names none: "no majority", "no conclusion" or "no report".
        names_class: whether that is a class.
        agrees: whether the classifier says the same; None for the classifier itself, where no class is named, and of
            a foreign picture.
        detail: what it rests on, in a few words.
    """

    who: str
    says: str
    names_class: bool
    agrees: bool | None
    detail: str


def describe_set(labels: Sequence[str], classes: int = 2) -> str:
    """Say what a conformal set means.

    Args:
        labels: classes in the set.
        classes: how many there are.

    Returns:
        A few words, such as "cannot tell: both classes are possible".
    """
    if not labels:
        return "cannot tell: no class fits"
    if len(labels) == 1:
        return f"only {labels[0]} is possible"
    if len(labels) == classes == 2:
        return "cannot tell: both classes are possible"
    return f"cannot tell: {len(labels)} classes are possible, {', '.join(labels)}"


def short_set(labels: Sequence[str], classes: int = 2) -> str:
    """Name a conformal set in a word.

    Args:
        labels: classes in the set.
        classes: how many there are.

    Returns:
        The one class, "both", "neither", or of more classes the two, how many they are, or "none".
    """
    if len(labels) == classes == 2:
        return "both"
    if len(labels) > 2:
        return f"{len(labels)} of {classes}"
    return ", ".join(labels) or ("neither" if classes == 2 else "none")


def describe_reliability(found: Reliability, label: str) -> str:
    """Say what became of the validation images with about the same probability.

    Args:
        found: what is known of them.
        label: the class that the probability is of.

    Returns:
        One sentence.
    """
    between = f"with a probability between {found.low:.2f} and {found.high:.2f}"
    if not found.images:
        return f"There is no validation image {between}, so nothing says how reliable it is."
    many = f"{found.images} validation images" if found.images > 1 else "one validation image"
    shares = [f"{100 * share:.0f}" for share in (found.share, found.share_low, found.share_high)]
    return f"Of the {many} {between}, {shares[0]} % had {label} (95 % interval {shares[1]}–{shares[2]} %)."


def describe_screening(found: Screening) -> str:
    """Say how far a picture lies from those that the classifier was made for.

    Args:
        found: what the screening says.

    Returns:
        One sentence.
    """
    return (
        f"Distance from the training images {found.distance:.3g}, limit {found.limit:.3g}; "
        f"{100 * found.typical:.0f} % of the validation images lie at least as far."
    )


def describe_similar(found: SimilarCases) -> str:
    """Say how many of the similar cases have which class.

    Args:
        found: the cases.

    Returns:
        A few words, the most frequent class first.
    """
    counts = Counter(hit.label for hit in found.hits).most_common()
    return ", ".join(f"{count} {label}" for label, count in counts) or "none"


def describe_majority(found: SimilarCases) -> str:
    """Say which class most of the similar cases have.

    Args:
        found: the cases.

    Returns:
        A few words, such as "4 of 5 pneumonia".
    """
    if found.majority is None:
        return "no majority"
    return f"{sum(hit.label == found.majority for hit in found.hits)} of {len(found.hits)} {found.majority}"


def describe_counts(cases: Collection[Case]) -> str:
    """Count cases by concern and by class.

    Args:
        cases: of a run.

    Returns:
        One or two sentences.
    """
    concerns = Counter(case.concern for case in cases)
    labels = Counter(case.classification.label for case in cases if case.counts and case.classification)
    parts = ", ".join(f"{concerns[concern]} {_COUNTED[concern]}" for concern in CONCERNS if concerns[concern])
    counted = ", ".join(f"{count} {label}" for label, count in sorted(labels.items(), key=lambda each: -each[1]))
    sentence = f"{len(cases)} picture{'' if len(cases) == 1 else 's'}" + (f": {parts}." if parts else ".")
    return f"{sentence} Of the {labels.total()} counted: {counted}." if counted else sentence


def voices(case: Case, answers: Sequence[Answer] = ()) -> list[Voice]:
    """Gather what each says of a picture.

    Args:
        case: the case.
        answers: its reports, where they were kept.

    Returns:
        The classifier, the similar cases of each encoder and each report.
    """
    found = case.classification
    if found is None:
        return []

    def voice(who: str, label: str | None, otherwise: str, detail: str) -> Voice:
        agrees = None if label is None or case.foreign or found is None else label == found.label
        return Voice(who, label or otherwise, label is not None, agrees, detail)

    detail = f"probability {found.probability:.2f}" + (
        f", threshold {found.threshold:.2f}" if found.threshold is not None else ""
    )
    if found.runner_up is not None:
        detail += f"; then {found.runner_up[0]} {found.runner_up[1]:.2f}"
    said = [voice("classifier", found.label, "", detail)._replace(agrees=None)]
    for similar in case.similar:
        near = describe_similar(similar)
        near += f"; nearest {similar.hits[0].similarity:.2f}" if similar.hits else ""
        said.append(voice(f"similar cases, {similar.encoder}", similar.majority, "no majority", near))
    by_strategy = {answer.strategy: answer for answer in answers}
    for strategy, label in case.reports.items():
        answer = by_strategy.get(strategy)
        unread = answer is not None and answer.report is None
        certainty = printable(answer.report.certainty, 60) if answer and answer.report else ""
        said.append(voice(f"report, {strategy}", label, "no report" if unread else "no conclusion", certainty))
    return said
