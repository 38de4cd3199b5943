"""Which test cases get a report, and what the classifier decides of each, whatever the classes are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.report_generation.schema import CHEST_CLASSES
from tasks.reports.cases import BORDER, Decision, choose_cases, group_of, take_turns

ClassGroup = Literal["called correctly", "called incorrectly", "borderline"]
CLASS_GROUPS: tuple[ClassGroup, ...] = get_args(ClassGroup)


@dataclass(frozen=True)
class Classified:
    """What the classifier says of images of which the truth is known.

    Attributes:
        probabilities: calibrated, of class 1 of two, shape (images,); of more, shape (images, classes).
        labels: true classes, shape (images,).
        threshold: probability of class 1 from which it is called; None for more than two classes, of which the
            likeliest is.
        class_names: by label.
    """

    probabilities: NDArray[np.floating]
    labels: NDArray[np.integer]
    threshold: float | None
    class_names: tuple[str, ...]

    @property
    def of_chests(self) -> bool:
        """Whether the images are chest X-rays."""
        return self.class_names == CHEST_CLASSES

    @cached_property
    def called(self) -> NDArray[np.int64]:
        """Class of each image according to the classifier, shape (images,)."""
        if self.threshold is None:
            return self.probabilities.argmax(axis=1)
        return (self.probabilities >= self.threshold).astype(np.int64)

    @cached_property
    def sureness(self) -> NDArray[np.floating]:
        """Probability of that class, shape (images,)."""
        if self.threshold is None:
            return self.probabilities.max(axis=1)
        return np.where(self.called == 1, self.probabilities, 1 - self.probabilities)

    @cached_property
    def margins(self) -> NDArray[np.floating]:
        """How near each decision is: to the threshold of two classes, or to the runner-up of more, shape (images,)."""
        if self.threshold is not None:
            return np.abs(self.probabilities - self.threshold)
        ordered = np.sort(self.probabilities, axis=1)
        return ordered[:, -1] - ordered[:, -2]

    def explained(self, indices: Sequence[int]) -> list[int]:
        """Return the class whose evidence is told of each case: pneumonia, or of other images the one called."""
        return [1 if self.of_chests else int(self.called[index]) for index in indices]


def choose(found: Classified, count: int) -> tuple[list[int], tuple[str, ...]]:
    """Choose cases of every group: of the chest X-rays by disease and error, of other images by error.

    Args:
        found: what the classifier says of the images.
        count: how many to choose; all where there are fewer.

    Returns:
        Their positions, and the group of each.
    """
    if found.threshold is None or not found.of_chests:
        groups, chosen = class_groups(found), choose_class_cases(found, count)
        return chosen, tuple(groups[index] for index in chosen)
    probabilities, labels, threshold = found.probabilities, found.labels, found.threshold
    chosen = choose_cases(probabilities, labels, threshold, count)
    return chosen, tuple(group_of(float(probabilities[i]), int(labels[i]), threshold) for i in chosen)


def class_groups(found: Classified) -> list[ClassGroup]:
    """Name the group of each image: near decisions are borderline, whether they are right or not."""
    right = found.called == found.labels
    return [
        "borderline" if margin < BORDER else "called correctly" if correct else "called incorrectly"
        for margin, correct in zip(found.margins.tolist(), right.tolist(), strict=True)
    ]


def choose_class_cases(found: Classified, count: int) -> list[int]:
    """Choose cases of every group, for teaching and not for estimating anything.

    The groups take turns. Borderline cases start with the nearest, errors with the surest; of correct ones the classes
    take turns, each with its most typical case first (nearest to the median probability of the class).

    Args:
        found: what the classifier says of the images.
        count: how many to choose; all where there are fewer.

    Returns:
        Different positions, in the order of `CLASS_GROUPS`; ties by position.
    """
    groups = np.array(class_groups(found))
    right, wrong, near = (np.flatnonzero(groups == group) for group in CLASS_GROUPS)
    waiting: dict[ClassGroup, list[int]] = {
        "called correctly": _classes_in_turn(right, found),
        "called incorrectly": wrong[np.argsort(-found.sureness[wrong], kind="stable")].tolist(),
        "borderline": near[np.argsort(found.margins[near], kind="stable")].tolist(),
    }
    return take_turns(waiting, count)


def _classes_in_turn(members: NDArray[np.integer], found: Classified) -> list[int]:
    ranked = []
    for label in np.unique(found.labels[members]):
        own = members[found.labels[members] == label]
        sure = found.sureness[own]
        typical = own[np.argsort(np.abs(sure - np.median(sure)), kind="stable")]
        ranked += [(rank, int(label), int(index)) for rank, index in enumerate(typical)]
    return [index for _, _, index in sorted(ranked)]


def decisions(found: Classified, indices: Sequence[int]) -> list[Decision]:
    """Say what the classifier decides on cases: between its two classes, or of more between the two likeliest.

    Args:
        found: what the classifier says of the images.
        indices: positions of the cases.

    Returns:
        The decision on each, in their order.
    """
    names = found.class_names
    if found.threshold is not None:
        return [Decision(float(found.probabilities[i]), found.threshold, (names[0], names[1])) for i in indices]
    decided = []
    for index in indices:
        probabilities = found.probabilities[index]
        best, second = np.argsort(-probabilities, kind="stable")[:2]
        likeliest, runner_up = float(probabilities[best]), float(probabilities[second])
        decided.append(Decision(likeliest, runner_up, (names[second], names[best]), two_classes=False))
    return decided
