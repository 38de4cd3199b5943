"""Is a picture foreign: does it look like what the classifier was made for?

There are two kinds of reasons. Plain ones hold of the picture itself: it is in colour, it shows a page of text, its
header says that it is a tomography. The others are distances to the training images:

- by pixels: one minus the correlation of a picture's thumbnail with those of its nearest training images. It does not
  depend on brightness and contrast, and tells what is laid out otherwise or inverted;
- by features: one minus the cosine of its embedding with theirs (deep nearest neighbours; Sun et al., 2022), which
  tells what the classifier itself finds unlike.

Each is divided by what 95 % of the validation images stay within, so that they can be compared, and the larger one
counts. The limit is such that both together keep 95 % of the validation images.

The distances hold for any images. What plain reasons there are beside size and frames is known of chest X-rays alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.vector_index.normalization import finite_rows
from tasks.cases.case import Screening
from tasks.data.pictures.dicom_terms import MODALITIES, OTHER_PARTS
from tasks.data.pictures.picture_facts import PictureFacts

KEPT = 0.95
"""Share of the validation images that are not foreign."""
NEIGHBOURS = 5
"""Nearest training images whose mean distance counts."""
SIDE = 7
"""Pixels a side of the thumbnails that are compared: small ones forgive a shift."""
MOST_IMAGES = 10_000
"""Training images that are kept to compare with; of more, so many at equal steps."""

LEAST_CONTRAST = 16
"""Grey levels between its darkest and brightest hundredth; images of the dataset have 30 or more."""
MOST_WHITE = 0.6
"""Share of white; images of the dataset have .51 or less."""
MOST_FLAT = 0.8
"""Share on eight grey levels; images of the dataset have .58 or less."""
MOST_COLOURED = 0.1
"""Share that is clearly coloured, which leaves room for a mark."""
MOST_ELONGATED = 2.5
"""Times that it is as long as wide."""
X_RAY_MODALITIES = frozenset({"CR", "DX", "RG", "RF", "XA", "HC", "SC", "OT"})
"""Terms with which a chest X-ray may come; those of copies of any kind are among them."""

_PARTS = ("pixels", "embeddings")
_SENTENCES = {
    "pixels": "It is laid out unlike all training images: it may show something else, or be turned, inverted or framed "
    "otherwise.",
    "embeddings": "To the classifier it is unlike all of its training images.",
}
_LEAST_SCALE = 1e-6  # where all validation images lie in train
_BATCH = 256


def fit_screening(
    train_images: NDArray[np.uint8],
    train_embeddings: NDArray[np.floating],
    val_images: NDArray[np.uint8],
    val_embeddings: NDArray[np.floating],
) -> dict[str, NDArray[Any]]:
    """Learn what the classifier's own images look like.

    Args:
        train_images: what it was trained on, without what validation holds too, shape (images, height, width) or, in
            colour, (images, height, width, 3).
        train_embeddings: the features of its head, shape (images, dimensions).
        val_images: images that it did not see, same size.
        val_embeddings: theirs.

    Returns:
        What `screen` needs: `pixels` and `embeddings` of training images as unit vectors (float16), `scale`, by which
        distances of each are divided, shape (2,), and `distances` of the validation images, ascending, of which `KEPT`
        are at most 1.
    """
    chosen = np.unique(np.linspace(0, len(train_images) - 1, min(len(train_images), MOST_IMAGES)).round().astype(int))
    fitted: dict[str, NDArray[Any]] = {
        "pixels": thumbnails(train_images[chosen]).astype(np.float16),
        "embeddings": directions(train_embeddings[chosen]).astype(np.float16),
    }
    parts = _nearest(fitted, val_images, val_embeddings)
    each = np.maximum([_limit(np.sort(part)) for part in parts], _LEAST_SCALE)
    fitted["scale"] = each * max(_limit(np.sort((parts / each[:, None]).max(axis=0))), _LEAST_SCALE)
    fitted["distances"] = np.sort((parts / fitted["scale"][:, None]).max(axis=0))
    return fitted


def screen(
    fitted: dict[str, NDArray[Any]],
    images: NDArray[np.uint8],
    embeddings: NDArray[np.floating],
    facts: Sequence[PictureFacts],
    *,
    chest_x_rays: bool = True,
) -> list[Screening]:
    """Judge pictures.

    Args:
        fitted: what `fit_screening` gave.
        images: as the classifier sees them, shape (pictures, height, width).
        embeddings: the features of its head, shape (pictures, dimensions).
        facts: what is known of each at its own size.
        chest_x_rays: whether the classifier was made for these, so that a header that says otherwise counts.

    Returns:
        One for each, with all reasons, plain ones first.
    """
    parts = _nearest(fitted, images, embeddings) / fitted["scale"][:, None]
    distances, validation = parts.max(axis=0), fitted["distances"]
    limit = _limit(validation)
    nearer = np.searchsorted(validation, distances)  # so many validation images
    found = []
    for position, (fact, distance) in enumerate(zip(facts, distances, strict=True)):
        reasons = plain_reasons(fact, images.shape[1], chest_x_rays=chest_x_rays)
        reasons += [_SENTENCES[part] for part, far in zip(_PARTS, parts[:, position] > limit, strict=True) if far]
        found.append(
            Screening(
                foreign=bool(reasons),
                reasons=tuple(reasons),
                distance=float(distance),
                limit=limit,
                typical=float((len(validation) - nearer[position] + 1) / (len(validation) + 1)),
            )
        )
    return found


def plain_reasons(facts: PictureFacts, size: int, *, chest_x_rays: bool = True) -> list[str]:
    """Say why a picture cannot be what the classifier was made for, whatever the classifier makes of it.

    Args:
        facts: what is known of it at its own size.
        size: pixels a side that the classifier reads.
        chest_x_rays: whether it was made for these.

    Returns:
        Sentences; none where nothing speaks against it.
    """
    reasons = []
    height, width = facts.height, facts.width
    one = "X-ray" if chest_x_rays else "picture"
    if chest_x_rays and facts.modality in MODALITIES.keys() - X_RAY_MODALITIES:
        reasons.append(f"Its header says {MODALITIES[facts.modality]}, and a chest X-ray was expected.")
    if chest_x_rays and facts.body_part in OTHER_PARTS:
        reasons.append(f"Its header says that it shows the body part {facts.body_part}, and a chest was expected.")
    if facts.frames > 1:
        reasons.append(f"Its file holds {facts.frames:,} frames, and one {one} was expected.")
    if min(height, width) < size:
        reasons.append(f"It has {height} × {width} pixels, and the classifier needs {size} × {size}.")
    if not chest_x_rays:
        return reasons
    if max(height, width) > MOST_ELONGATED * min(height, width):
        reasons.append(
            f"It has {height} × {width} pixels, and an X-ray is at most {MOST_ELONGATED:g} times as long as wide: only "
            "its middle was looked at."
        )
    if facts.contrast < LEAST_CONTRAST:
        reasons.append("It has hardly any contrast: nearly all of it is of one grey.")
    elif facts.white > MOST_WHITE:
        reasons.append(f"{facts.white:.0%} of it is white, as of a page of text or a drawing.")
    elif facts.flat > MOST_FLAT:
        reasons.append("It consists of a few even grey levels, as a drawing or a screen does.")
    if facts.coloured > MOST_COLOURED:
        reasons.append(f"{facts.coloured:.0%} of it is coloured, as of a photograph, and X-rays are grey.")
    return reasons


def _limit(ascending: NDArray[np.floating]) -> float:
    """Distance that `KEPT` of the images stay within, and a further one of their kind with that probability."""
    rank = min(math.ceil(KEPT * (len(ascending) + 1)), len(ascending))
    return float(ascending[rank - 1])


def _nearest(
    fitted: dict[str, NDArray[Any]], images: NDArray[np.uint8], embeddings: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Mean distances to the nearest training images by pixels and by features, shape (2, images)."""
    found = np.empty((len(_PARTS), len(images)))
    for number, (part, vectors) in enumerate(zip(_PARTS, (thumbnails(images), directions(embeddings)), strict=True)):
        train = directions(fitted[part])  # float16 has changed their lengths
        k = min(NEIGHBOURS, len(train))
        for start in range(0, len(vectors), _BATCH):
            cosines = vectors[start : start + _BATCH] @ train.T
            found[number, start : start + _BATCH] = 1 - np.partition(cosines, -k, axis=1)[:, -k:].mean(axis=1)
    return found.clip(0, 2)


def thumbnails(images: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.float32]:
    """Shrink pictures to the means of equal fields, and take away brightness and contrast.

    Args:
        images: shape (pictures, height, width) or (pictures, height, width, channels), at least `side` a side.
        side: fields a side.

    Returns:
        Unit vectors with mean zero, whose cosine is the correlation of the thumbnails; zeros for an even picture. Shape
        (pictures, side × side × channels).
    """
    rows, columns = (np.arange(side) * length // side for length in images.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(images, rows, axis=1, dtype=np.float32), columns, axis=2)
    heights, widths = np.diff(rows, append=images.shape[1]), np.diff(columns, append=images.shape[2])
    fields = np.outer(heights, widths)
    small = (sums / (fields if images.ndim == 3 else fields[..., None])).reshape(len(images), -1)
    return directions(small - small.mean(axis=1, keepdims=True))


def directions(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale vectors to length one.

    Args:
        vectors: shape (vectors, dimensions).

    Returns:
        The same shape; a vector of length zero stays zero, and is far from all others.

    Raises:
        InputError: a vector is not finite.
    """
    rows = finite_rows(vectors)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-6)
