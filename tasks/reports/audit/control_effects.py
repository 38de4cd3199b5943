"""What changes in the answers when the image, the probability, the words or the batch change."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from models.report_generation.controls import CONTROLS
from models.report_generation.schema import Answer, Control, Label
from tasks.shared.bootstrap import interval, mean_interval, resample_counts
from tasks.shared.estimates import UNKNOWN, Estimate, share

SAMPLES = 1000
SEED = 0


class Pair(NamedTuple):
    """An answer under a control beside the plain answer on the same case.

    Attributes:
        plain: the answer to the plain request.
        changed: the answer under the control.
        suggested: the label that the control suggests (true class of the image shown, or label that the probability
            told stands for), or None where it suggests none or the same as the plain request does.
    """

    plain: Answer
    changed: Answer
    suggested: Label | None = None


def label_of(answer: Answer) -> Label | None:
    """Return the label of an answer's report; None without a label or a report."""
    return answer.report.label if answer.report else None


def report_effects(control: Control, pairs: Sequence[Pair]) -> dict[str, Estimate]:
    """Measure what a control does to the reports of one strategy.

    Args:
        control: the control.
        pairs: one per case.

    Returns:
        The effects that `CONTROLS` names for it, by the names of `EFFECTS`.
    """
    return {name: EFFECTS[name](pairs) for name in CONTROLS[control].effects}


def flip_rate(labels: Sequence[Label | None], plain: Sequence[Label | None]) -> Estimate:
    """Take the share of labels that a control changes, over the cases that have a label with and without it."""
    return share(label != other for label, other in zip(labels, plain, strict=True) if label and other)


def follow_rate(labels: Sequence[Label | None], suggested: Sequence[Label | None]) -> Estimate:
    """Take the share of labels that are the suggested ones, over the cases that have both."""
    return share(label == other for label, other in zip(labels, suggested, strict=True) if label and other)


def identical(values: Sequence[Hashable], others: Sequence[Hashable]) -> Estimate:
    """Take the share of pairs of equal values, over all pairs; None equals None."""
    return share(value == other for value, other in zip(values, others, strict=True))


def _labels(pairs: Sequence[Pair]) -> list[Label | None]:
    return [label_of(pair.changed) for pair in pairs]


def _plain(pairs: Sequence[Pair]) -> list[Label | None]:
    return [label_of(pair.plain) for pair in pairs]


def _same_label(pairs: Sequence[Pair]) -> Estimate:
    return identical(_labels(pairs), _plain(pairs))


EFFECTS: dict[str, Callable[[Sequence[Pair]], Estimate]] = {
    "flip_rate": lambda pairs: flip_rate(_labels(pairs), _plain(pairs)),
    "follow_rate": lambda pairs: follow_rate(_labels(pairs), [pair.suggested for pair in pairs]),
    "concludes": lambda pairs: share(label is not None for label in _labels(pairs)),
    "pneumonia": lambda pairs: share(label == "pneumonia" for label in _labels(pairs)),
    "consistency": _same_label,
    "identical_text": lambda pairs: share(
        pair.changed.text == pair.plain.text for pair in pairs if pair.changed.text or pair.plain.text
    ),
    "identical_label": _same_label,
}
"""What is measured under a control: the share of labels that change, and of those that are the suggested ones; that
still conclude, and that say pneumonia (of an image that shows nothing, each a false finding); that are the same, none
counted as one; and that are the same text, where anything was written."""


def score_change(
    scores: Sequence[float | None], plain: Sequence[float | None], *, samples: int = SAMPLES, seed: int = SEED
) -> Estimate:
    """Take the mean absolute change of the P(yes) score, over the cases that have one with and without the control.

    Args:
        scores: under the control, in [0, 1]; None where there is none.
        plain: without it.
        samples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        The mean with its bootstrap interval over cases; unknown without cases.
    """
    both = [(score, other) for score, other in zip(scores, plain, strict=True) if score is not None]
    changes = np.array([abs(score - other) for score, other in both if other is not None])
    if len(changes) == 0:
        return UNKNOWN
    return Estimate(float(changes.mean()), *mean_interval(changes, samples, seed), len(changes))


def anchoring_slope(
    cases: Sequence[int],
    told: Sequence[float],
    outcomes: Sequence[float],
    *,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> Estimate:
    """Regress an outcome on the probability told, within cases: ordinary least squares with case fixed effects.

    Args:
        cases: the case of each answer.
        told: the probability that the generator was told for it.
        outcomes: 1 where it is labelled pneumonia, else 0; or its score.
        samples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        The slope: 0 where the outcome does not depend on what is told, about 1 where it repeats it; more where a label
        jumps at the threshold. Its interval is a bootstrap over cases; `n` counts the cases told different
        probabilities, without which the slope is unknown.
    """
    products, squares = [], []
    case_of, x_all, y_all = np.asarray(cases), np.asarray(told, np.float64), np.asarray(outcomes, np.float64)
    for case in dict.fromkeys(cases):
        x, y = x_all[case_of == case], y_all[case_of == case]
        if np.ptp(x) > 0:
            products.append(((x - x.mean()) * (y - y.mean())).sum())
            squares.append(((x - x.mean()) ** 2).sum())
    if not squares:
        return UNKNOWN
    counts = resample_counts(len(squares), samples, seed)
    slopes = (counts @ np.array(products)) / (counts @ np.array(squares))
    return Estimate(float(sum(products) / sum(squares)), *interval(slopes), len(squares))
