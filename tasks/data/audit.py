"""What the dataset holds: classes, exact duplicates within and across splits, and how far the splits look alike."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from tasks.data.validation import SPLITS, Splits
from tasks.shared.markdown import table

LISTED = 20  # indices named in the table; the audit itself holds all
_CHUNK = 1024  # images summed at once, which bounds memory


@dataclass(frozen=True)
class SplitAudit:
    """One split; every mapping is from class name.

    Attributes:
        images: number of images.
        counts: images per class.
        shares: the same as a share of the split, in [0, 1].
        repeats: images that are pixel for pixel the same as an earlier one of the split.
        brightness: mean level of the class's pixels, all channels alike, 0–255.
        shift: how far the class's mean picture lies from its mean picture in train: root mean square over pixels and
            channels, in levels of 0–255; 0 for train itself.
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
        splits: the dataset, with each class in each split.
        labels: the classes, from label to name.

    Returns:
        The figures.
    """
    digests = {name: [hashlib.sha256(image).digest() for image in splits.images(name)] for name in SPLITS}
    occurrences = {name: Counter(found) for name, found in digests.items()}
    looks = {name: _looks(splits.images(name), splits.labels(name), labels) for name in SPLITS}
    return Audit(
        splits={
            name: _audit_split(
                looks[name],
                looks["train"],
                images=len(digests[name]),
                repeats=len(digests[name]) - len(occurrences[name]),
            )
            for name in SPLITS
        },
        overlaps=[
            _overlap(first, second, occurrences[first], occurrences[second])
            for first, second in combinations(SPLITS, 2)
        ],
        contradictions=_contradictions(
            chain.from_iterable(
                zip(digests[name], map(str, splits.labels(name).tolist()), strict=True) for name in SPLITS
            )
        ),
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
    splits = result.splits
    counts: list[list[object]] = [
        [word, *(f"{split.counts[word]} ({split.shares[word]:.1%})" for split in splits.values())]
        for word in splits["train"].counts
    ]
    totals: list[list[object]] = [
        ["all images", *(split.images for split in splits.values())],
        ["repeats of an earlier image", *(split.repeats for split in splits.values())],
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
        for word in splits["train"].counts
        for name, split in splits.items()
    ]
    shared = result.train_shared_with_validation
    listed = ", ".join(map(str, shared[:LISTED])) + (", …" if len(shared) > LISTED else "")
    return "\n".join(
        [
            table(["class", *splits], counts + totals),
            table(
                ["splits", "distinct shared images", "copies in the first", "copies in the second", "identical pairs"],
                overlaps,
            ),
            f"Training images that leave training because validation holds them too: {len(shared)}"
            f"{f' (indices {listed})' if shared else ''}.\n",
            f"Distinct images that occur with contradicting labels: {result.contradictions}.\n",
            table(["split", "class", "brightness", "shift of the mean picture", "shift expected by chance"], looks),
            "Brightness and shift are in levels of 0–255, over all pixels and channels. The shift is the root mean "
            "square difference between the class's mean picture in the split and in train; well above the chance "
            "column, the splits look different.\n",
        ]
    )


@dataclass(frozen=True)
class _Look:
    """How the images of a class look: each pixel's mean and variance over them."""

    images: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def _looks(images: NDArray[np.uint8], targets: NDArray[np.int64], labels: Mapping[int, str]) -> dict[str, _Look]:
    """Sum in whole numbers, a chunk at a time: exact, and no copy of the images in floating point."""
    looks = {}
    for label, word in sorted(labels.items()):
        members = np.flatnonzero(targets == label if targets.ndim == 1 else targets[:, label])
        total, squares = np.zeros((2, *images.shape[1:]), np.int64)
        for start in range(0, len(members), _CHUNK):
            chunk = images[members[start : start + _CHUNK]]
            total += chunk.sum(axis=0, dtype=np.int64)
            squares += np.square(chunk, dtype=np.uint16).sum(axis=0, dtype=np.int64)  # 255² fits 16 bits
        count = len(members)
        looks[word] = _Look(count, total / count, (count * squares - total**2) / count**2)
    return looks


def _audit_split(
    looks: Mapping[str, _Look], reference: Mapping[str, _Look], *, images: int, repeats: int
) -> SplitAudit:
    brightness, shift, by_chance = {}, {}, {}
    for word, look in looks.items():
        train = reference[word]
        brightness[word] = float(look.mean.mean())
        shift[word] = float(np.sqrt(np.mean((look.mean - train.mean) ** 2)))
        # The variance of a difference of two independent means, pixel by pixel.
        by_chance[word] = float(np.sqrt(train.variance.mean() * (1 / look.images + 1 / train.images)))
    return SplitAudit(
        images=images,
        counts={word: look.images for word, look in looks.items()},
        shares={word: look.images / images for word, look in looks.items()},
        repeats=repeats,
        brightness=brightness,
        shift=shift,
        shift_by_chance=by_chance,
    )


def _contradictions(labelled: Iterable[tuple[bytes, str]]) -> int:
    """Count the distinct digests that come with more than one label."""
    first_label: dict[bytes, str] = {}
    contradictory = set()
    for digest, label in labelled:
        if first_label.setdefault(digest, label) != label:
            contradictory.add(digest)
    return len(contradictory)


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
