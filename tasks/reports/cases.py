"""Which test cases get a report, a fixed mix of correct, incorrect and borderline, and what is known of each."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from models.report_generation.regions import describe_region
from models.report_generation.schema import Case, Label, NeighbourEvidence

Group = Literal[
    "pneumonia, called correctly", "normal, called correctly", "missed pneumonia", "false alarm", "borderline"
]  # fmt: skip
GROUPS: tuple[Group, ...] = get_args(Group)
_Name = TypeVar("_Name", bound=str)
BORDER = 0.1
"""Probabilities closer to the threshold than this are borderline, whether the label is correct or not."""


def group_of(probability: float, label: int, threshold: float) -> Group:
    """Name the group of a case.

    Args:
        probability: calibrated probability of pneumonia.
        label: true class, 1 for pneumonia.
        threshold: probability from which the classifier labels pneumonia.

    Returns:
        The group.
    """
    if abs(probability - threshold) < BORDER:
        return "borderline"
    if probability >= threshold:
        return "pneumonia, called correctly" if label == 1 else "false alarm"
    return "missed pneumonia" if label == 1 else "normal, called correctly"


def choose_cases(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float, count: int
) -> list[int]:
    """Choose cases of every group, for teaching and not for estimating anything.

    The groups take turns, so that each has a fifth of the cases; what a small or empty group lacks goes to the others.
    Within a group the errors start with the most confident, borderline cases with the nearest to the threshold, and
    correct ones with the most typical (nearest to the group's median probability). A larger count only adds cases.

    Args:
        probabilities: calibrated probabilities of pneumonia, shape (cases,).
        labels: true classes, shape (cases,), 1 for pneumonia.
        threshold: probability from which the classifier labels pneumonia.
        count: how many to choose; all where there are fewer.

    Returns:
        Different indices, in the order of `GROUPS`, and within a group in the order above; ties by index.
    """
    waiting: dict[Group, list[int]] = {group: [] for group in GROUPS}
    for index, (probability, label) in enumerate(zip(probabilities.tolist(), labels.tolist(), strict=True)):
        waiting[group_of(probability, label, threshold)].append(index)
    for group, members in waiting.items():
        if group == "borderline":
            keys = np.abs(probabilities - threshold)
        elif group == "missed pneumonia":
            keys = probabilities
        elif group == "false alarm":
            keys = -probabilities
        else:
            keys = np.abs(probabilities - np.median(probabilities[members])) if members else probabilities
        members.sort(key=lambda index, keys=keys: (keys[index], index))  # type: ignore[misc]
    return take_turns(waiting, count)


def take_turns(waiting: Mapping[_Name, Sequence[int]], count: int) -> list[int]:
    """Take cases of every group in turn, from the front of each.

    Args:
        waiting: the cases of each group.
        count: how many to take; all where there are fewer.

    Returns:
        The cases taken, group by group.
    """
    taken = dict.fromkeys(waiting, 0)
    while sum(taken.values()) < min(count, sum(map(len, waiting.values()))):
        for group, members in waiting.items():
            if taken[group] < len(members) and sum(taken.values()) < count:
                taken[group] += 1
    return [index for group, members in waiting.items() for index in members[: taken[group]]]


class Decision(NamedTuple):
    """What the classifier says of a case: the fields of the evidence with the same names."""

    probability: float
    threshold: float
    labels: tuple[Label, Label]
    two_classes: bool = True


def gather_evidence(
    indices: Sequence[int],
    splits: Mapping[str, NDArray[Any]],
    decisions: Sequence[Decision],
    heat_maps: NDArray[np.floating],
    neighbours: Mapping[str, NDArray[Any]],
    neighbour_count: int,
    class_names: Sequence[str],
) -> list[Case]:
    """Gather what the classifier and the index know of cases: probability, heat region and similar cases.

    Args:
        indices: positions of the cases in the test split.
        splits: `test_images`, shape (images, height, width) or (images, height, width, 3), and `train_labels`, shape
            (train images,).
        decisions: what the classifier says of each case.
        heat_maps: Grad-CAM map of each case, in [0, 1], shape (cases, height, width).
        neighbours: `train_ids` and `train_similarities`, shape (images, neighbours), the most similar first.
        neighbour_count: how many of them are given as evidence.
        class_names: names of the classes, by label.

    Returns:
        The evidence on each case, in the order of the indices.
    """
    cases = []
    for index, decision, heat in zip(indices, decisions, heat_maps, strict=True):
        region = describe_region(heat)
        ids, similarities = (neighbours[f"train_{name}"][index, :neighbour_count] for name in ("ids", "similarities"))
        similar = [
            NeighbourEvidence(
                index=int(neighbour),
                label=class_names[splits["train_labels"][neighbour]],
                similarity=float(similarity),
                split="train",
            )
            for neighbour, similarity in zip(ids, similarities, strict=True)
        ]
        cases.append(
            Case(
                index=index,
                image_sha256=hashlib.sha256(splits["test_images"][index].tobytes()).hexdigest(),
                **decision._asdict(),
                heat_region=region.words,
                heat_share=region.share,
                neighbours=tuple(similar),
            )
        )
    return cases
