"""What the dataset holds: classes, exact duplicates within and across splits, and how far the splits look alike."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tasks.data.validation import SPLITS, Splits
from tasks.shared.markdown import table


@dataclass(frozen=True)
class SplitAudit:
    """One split; every mapping is from class name.

    Attributes:
        images: number of images.
        counts: images a class.
        shares: the same as a share of the split, in [0, 1].
        repeats: images that are pixel for pixel the same as an earlier one of the split.
        brightness: mean grey level of the class's pixels, 0–255.
        shift: how far the class's mean picture lies from its mean picture in train: root mean square over pixels, in
            grey levels; 0 for train itself.
        shift_by_chance: what `shift` would be expected to be if the split were drawn from the same images as train.
    """

    images: int
    counts: dict[str, int]
    shares: dict[str, float]
    repeats: int
    brightness: dict[str, float]
    shift: dict[str, float]
    shift_by_chance: dict[str, float]


@dataclass(frozen=True)
class Overlap:
    """Images that two splits share, pixel for pixel.

    Attributes:
        first: name of one split.
        second: name of the other.
        distinct: distinct images among those shared.
        in_first: images of the first that also occur in the second.
        in_second: images of the second that also occur in the first.
        pairs: pairs of identical images, one from each.
    """

    first: str
    second: str
    distinct: int
    in_first: int
    in_second: int
    pairs: int


@dataclass(frozen=True)
class Audit:
    """The dataset in figures; `dataclasses.asdict` makes it JSON.

    Attributes:
        splits: from split name.
        overlaps: one a pair of splits.
        contradictions: distinct images that occur with more than one label, anywhere in the dataset.
        train_shared_with_validation: indices in train whose image also occurs in validation, ascending, every copy of
            it; they leave training.
    """

    splits: dict[str, SplitAudit]
    overlaps: list[Overlap]
    contradictions: int
    train_shared_with_validation: list[int]


def audit(splits: Splits, labels: Mapping[int, str]) -> Audit:
    """Count, and compare the splits, in time linear in the number of pixels.

    Args:
        splits: the dataset.
        labels: the classes, from label to name.

    Returns:
        The figures.
    """
    digests = {name: [hashlib.sha256(image).digest() for image in splits.images(name)] for name in SPLITS}
    occurrences = {name: Counter(found) for name, found in digests.items()}
    classes_seen: dict[bytes, set[int]] = defaultdict(set)
    for name in SPLITS:
        for digest, label in zip(digests[name], splits.labels(name).tolist(), strict=True):
            classes_seen[digest].add(label)
    return Audit(
        splits={
            name: _audit_split(
                splits.images(name),
                splits.labels(name),
                splits.train_images,
                splits.train_labels,
                repeats=len(digests[name]) - len(occurrences[name]),
                labels=labels,
            )
            for name in SPLITS
        },
        overlaps=[
            _overlap(first, second, occurrences[first], occurrences[second])
            for first, second in combinations(SPLITS, 2)
        ],
        contradictions=sum(len(seen) > 1 for seen in classes_seen.values()),
        train_shared_with_validation=[
            index for index, digest in enumerate(digests["train"]) if digest in occurrences["val"]
        ],
    )


def audit_table(result: Audit) -> str:
    """Write the audit as markdown tables.

    Args:
        result: the audit.

    Returns:
        Markdown without a heading.
    """
    classes = list(result.splits["train"].counts)
    rows = [
        [name, split.images, *(f"{split.counts[c]} ({split.shares[c]:.1%})" for c in classes), split.repeats]
        for name, split in result.splits.items()
    ]
    overlaps = [[f"{o.first} and {o.second}", o.distinct, o.in_first, o.in_second, o.pairs] for o in result.overlaps]
    looks = [
        [
            name,
            word,
            f"{split.brightness[word]:.1f}",
            "–" if name == "train" else f"{split.shift[word]:.1f}",
            "–" if name == "train" else f"{split.shift_by_chance[word]:.1f}",
        ]
        for word in classes
        for name, split in result.splits.items()
    ]
    shared = ", ".join(map(str, result.train_shared_with_validation)) or "none"
    return "\n".join(
        [
            table(["split", "images", *classes, "repeats of an earlier image"], rows),
            table(
                ["splits", "distinct shared images", "copies in the first", "copies in the second", "identical pairs"],
                overlaps,
            ),
            f"Training images that leave training because validation holds them too (indices): {shared}.\n",
            f"Distinct images that occur with contradicting labels: {result.contradictions}.\n",
            table(["split", "class", "brightness", "shift of the mean picture", "shift expected by chance"], looks),
            "Brightness and shift are in grey levels (0–255). The shift is the root mean square difference, over "
            "pixels, between the class's mean picture in the split and in train; well above the chance column, the "
            "splits look different.\n",
        ]
    )


def _audit_split(
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    train_images: NDArray[np.uint8],
    train_targets: NDArray[np.int64],
    *,
    repeats: int,
    labels: Mapping[int, str],
) -> SplitAudit:
    counts, brightness, shift, by_chance = {}, {}, {}, {}
    for label, word in sorted(labels.items()):
        chosen, reference = images[targets == label], train_images[train_targets == label]
        mean, reference_mean = chosen.mean(axis=0), reference.mean(axis=0)
        counts[word] = len(chosen)
        brightness[word] = float(mean.mean())
        shift[word] = float(np.sqrt(np.mean((mean - reference_mean) ** 2)))
        # The variance of a difference of two independent means, pixel by pixel.
        variance = reference.var(axis=0) * (1 / len(chosen) + 1 / len(reference))
        by_chance[word] = float(np.sqrt(variance.mean()))
    shares = {word: count / len(images) for word, count in counts.items()}
    return SplitAudit(len(images), counts, shares, repeats, brightness, shift, by_chance)


def _overlap(first: str, second: str, in_first: Counter[bytes], in_second: Counter[bytes]) -> Overlap:
    shared = in_first.keys() & in_second.keys()
    return Overlap(
        first,
        second,
        distinct=len(shared),
        in_first=sum(in_first[digest] for digest in shared),
        in_second=sum(in_second[digest] for digest in shared),
        pairs=sum(in_first[digest] * in_second[digest] for digest in shared),
    )
