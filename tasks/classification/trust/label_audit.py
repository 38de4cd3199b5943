"""Labels that are likely wrong, and images that are nearly the same.

A label is doubted where a classifier that never saw the image gives another class with more confidence than is usual
for that class (confident learning; Northcutt, Jiang and Chuang, 2021, by cleanlab). "Never saw" must hold for its
duplicates too, so folds are made of groups of near-duplicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from tasks.classification.trust.calibration import by_class
from tasks.shared.markdown import table
from tasks.shared.pixel_correlation import LEAST_CORRELATION, correlated_pairs

SHOWN = 20


@dataclass(frozen=True)
class LabelIssue:
    """A label that is likely wrong.

    Attributes:
        index: of the image.
        given: label in the dataset.
        suggested: likeliest label by the out-of-fold probabilities.
        quality: out-of-fold probability of the given label, in [0, 1].
    """

    index: int
    given: int
    suggested: int
    quality: float


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that are nearly the same.

    Attributes:
        first: index of the earlier image.
        second: index of the later one.
        similarity: correlation of their pixels; 1 also where only brightness and contrast differ.
        labels: label of the first and of the second.
    """

    first: int
    second: int
    similarity: float
    labels: tuple[int, int]

    @property
    def contradictory(self) -> bool:
        """Whether the two have different labels."""
        return self.labels[0] != self.labels[1]


@dataclass(frozen=True)
class LabelAudit:
    """What is doubtful about the labels.

    Attributes:
        class_names: by label.
        images: images by class name.
        issues: likely wrong labels, the worst first.
        duplicates: pairs of near-duplicates: those of different labels first, then the most similar.
    """

    class_names: tuple[str, ...]
    images: dict[str, int]
    issues: tuple[LabelIssue, ...]
    duplicates: tuple[NearDuplicate, ...]


def audit_labels(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    images: NDArray[np.uint8],
    class_names: Sequence[str],
) -> LabelAudit:
    """Look for wrong labels and near-duplicates.

    Args:
        probabilities: out of fold, shape (images,) of class 1 or (images, classes).
        labels: shape (images,).
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        class_names: by label.

    Returns:
        The audit.

    Raises:
        InputError: as `near_duplicates`.
    """
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return LabelAudit(
        class_names=tuple(class_names),
        images=dict(zip(class_names, counts, strict=True)),
        issues=label_issues(probabilities, labels),
        duplicates=near_duplicates(images, labels),
    )


def label_issues(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[LabelIssue, ...]:
    """Find labels that are likely wrong.

    Args:
        probabilities: out of fold, shape (images,) of class 1 or (images, classes).
        labels: shape (images,).

    Returns:
        The issues, those with the least probable label first.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probabilities = by_class(probabilities)
    quality = get_label_quality_scores(labels, probabilities)
    likeliest = probabilities.argmax(axis=1)
    doubted = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    return tuple(
        LabelIssue(int(index), int(labels[index]), int(likeliest[index]), float(quality[index]))
        for index in doubted[np.argsort(quality[doubted], kind="stable")]
    )


def near_duplicates(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> tuple[NearDuplicate, ...]:
    """Find pairs of images that are nearly the same, by the correlation of their pixels.

    Args:
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        labels: shape (images,).

    Returns:
        The pairs: those of different labels first, then the most similar. Images of one single colour are like none.

    Raises:
        InputError: there are too many images; as `tasks.shared.pixel_correlation.correlated_pairs`.
    """
    pairs = [
        NearDuplicate(first, second, similarity, (int(labels[first]), int(labels[second])))
        for first, second, similarity in correlated_pairs(images)
    ]
    return tuple(sorted(pairs, key=lambda pair: (not pair.contradictory, -pair.similarity, pair.first, pair.second)))


def duplicate_groups(pairs: Sequence[NearDuplicate], count: int) -> NDArray[np.int64]:
    """Put images that are linked by near-duplicates into one group.

    Args:
        pairs: the links.
        count: number of images.

    Returns:
        Number of the group of each image, shape (count,); an image like no other is a group of its own.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    links = coo_array((np.ones(len(pairs)), (first, second)), shape=(count, count))
    groups: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return groups


def folds(labels: NDArray[np.integer], groups: NDArray[np.integer], count: int, seed: int) -> NDArray[np.int64]:
    """Deal images to folds that hold the classes in equal shares and never part a group.

    Args:
        labels: shape (images,).
        groups: of `duplicate_groups`, shape (images,).
        count: number of folds, at least 2.
        seed: of the deal.

    Returns:
        Fold of each image, 0 … count − 1, shape (images,).

    Raises:
        InputError: a class has fewer groups than there are folds, so that one would lack it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    if not 2 <= count <= fewest:
        raise InputError(
            f"--evaluation.label_folds {count} does not fit the images: the smallest class has {fewest} distinct ones "
            "and every fold needs one of them; choose at least 2 and at most that many, or 0 for no label audit."
        )
    fold = np.empty(len(labels), np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        fold[held_out] = number
    return fold


def label_audit_markdown(audit: LabelAudit) -> str:
    """Write the audit as tables.

    Args:
        audit: the audit.

    Returns:
        Markdown without a heading.
    """
    names = audit.class_names
    counts = []
    for label, name in enumerate(names):
        doubted = sum(issue.given == label for issue in audit.issues)
        images = audit.images[name]
        counts.append((name, images, doubted, f"{doubted / images:.1%}" if images else "–"))
    contradictory = sum(pair.contradictory for pair in audit.duplicates)
    return "\n".join(
        [
            table(("given label", "images", "labels in doubt", "share"), counts),
            f"Near-duplicates (pixels correlate at {LEAST_CORRELATION} or more): {len(audit.duplicates)} pairs, "
            f"{contradictory} of them with different labels.\n",
            "A label in doubt is one that a classifier disagrees with, not one that is shown to be wrong: an expert "
            "decides. No label is changed and no image left out.\n",
        ]
    )


def doubtful_labels(audit: LabelAudit) -> str:
    """List the labels that are most in doubt, at most 20.

    Args:
        audit: the audit.

    Returns:
        Markdown without a heading.
    """
    names = audit.class_names
    issues = [
        (f"#{issue.index}", names[issue.given], names[issue.suggested], issue.quality) for issue in audit.issues[:SHOWN]
    ]
    return (
        f"The {len(issues)} most doubtful of {len(audit.issues)} labels in doubt; the quality is the out-of-fold "
        "probability of the given label.\n\n" + table(("image", "given", "suggested", "quality"), issues)
    )


def duplicate_pairs(audit: LabelAudit) -> str:
    """List near-duplicates, at most 20 pairs, those of different labels first.

    Args:
        audit: the audit.

    Returns:
        Markdown without a heading.
    """
    names = audit.class_names
    pairs = [
        (f"#{pair.first}, #{pair.second}", pair.similarity, " and ".join(names[label] for label in pair.labels))
        for pair in audit.duplicates[:SHOWN]
    ]
    return f"The first {len(pairs)} of {len(audit.duplicates)} pairs.\n\n" + table(
        ("images", "correlation", "labels"), pairs
    )
