"""Which patient an image is of, as far as its file's name says so, and splits that no patient lies in twice.

The names that are known are those of the public chest X-rays of Guangzhou (Kermany et al., Cell 2018), as Kaggle and
Mendeley Data give them out: `person123_bacteria_4.jpeg`, `NORMAL2-IM-0001-0001.jpeg`, `IM-0001-0001.jpeg`,
`VIRUS-1008087-0001.jpeg`. Their numbers were made up for publication, so that they may be shown.
"""

import re
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.choices import Split

FOLDS = 10
"""Parts of equal size, of which one becomes validation and one test."""
SEED = 0

_SUFFIX = r"(?:\.(?:png|jpe?g|tiff?|bmp|gif|webp|jp2|dcm))?"
_NAMES = tuple(
    re.compile(pattern + _SUFFIX, re.IGNORECASE)
    for pattern in (
        r"(person\d{1,8})_(?:bacteria|virus)_\d{1,8}",
        r"((?:NORMAL2-)?IM-\d{1,8})-\d{1,8}(?:-\d{1,8})?",
        r"(?:NORMAL|BACTERIA|VIRUS)-(\d{1,8})-\d{1,8}",
    )
)


def patient_of(name: str) -> str | None:
    """Tell of whom an image is.

    Args:
        name: of its file, without folders.

    Returns:
        What the name calls the patient; None where it is no name that is known.
    """
    return next((match[1] for pattern in _NAMES if (match := pattern.fullmatch(name))), None)


def together(ties: Sequence[Iterable[Hashable]]) -> NDArray[np.int64]:
    """Put into one group what has anything in common, over any number of steps.

    Args:
        ties: what each image may have in common with others: its patient, its content.

    Returns:
        Number of the group of each image, shape (images,).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[Hashable, int] = {}
    pairs = [(place, first.setdefault(tie, place)) for place, each in enumerate(ties) for tie in each]
    rows, columns = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(ties), len(ties)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def divide(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> list[Split]:
    """Make splits: about 80 % train, 10 % validation and 10 % test, each class with its share, no group in two.

    Args:
        labels: class of each image, shape (images,); of each class there are `FOLDS` groups or more.
        groups: what must stay together, shape (images,).

    Returns:
        The split of each image, the same each time for the same images.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    names: tuple[Split, Split] = ("test", "val")
    splits: list[Split] = ["train"] * len(labels)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED).split(labels, labels, groups)
    for name, (_, members) in zip(names, folds, strict=False):
        for member in members:
            splits[member] = name
    return splits
