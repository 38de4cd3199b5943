"""Any flat set of MedMNIST, drawn small in its exact layout: arrays, types, shapes and labels as in `medmnist.INFO`."""

from pathlib import Path
from typing import Any

import medmnist
import numpy as np

A_CLASS = {"train": 12, "val": 12, "test": 12}
"""Images of each class, so that a query finds ten others of its own."""
FLAT = tuple(flag for flag, info in medmnist.INFO.items() if "MD5_224" in info)


def draw_set(
    folder: Path, flag: str, a_class: dict[str, int] | None = None, size: int = 28, spread: float = 25
) -> Path:
    """Draw a set: noise of the level (or colour) of the class, which varies enough to take some images for others.

    Args:
        folder: where the file goes, under MedMNIST's own name for it.
        flag: MedMNIST's name of the set.
        a_class: images of each class by split; of a set of several labels so many times the number of labels.
        size: side of the images in pixels.
        spread: how far the level of an image is from that of its class, in levels.

    Returns:
        The file, which MedMNIST's own classes read.
    """
    info, rng = medmnist.INFO[flag], np.random.default_rng(0)
    classes, channels = len(info["label"]), info["n_channels"]
    levels = np.array([np.unravel_index(label, (3,) * 3) for label in range(classes)]) * 55.0 - 55
    if channels == 1:
        levels = np.linspace(-70, 70, classes)[:, None]
    arrays: dict[str, Any] = {}
    for split, count in (a_class or A_CLASS).items():
        several = "multi-label" in info["task"]
        labels = np.tile(np.arange(classes), count)[:, None]
        if several:  # each label in a fifth of the images, an image with none, one or more
            labels = (rng.random((classes * count, classes)) < 0.2).astype(np.uint8)
            shift = labels @ np.linspace(-60, 60, classes)[:, None]
        else:
            shift = levels[labels[:, 0]]
        shift = shift + rng.normal(0, spread, size=shift.shape)
        drawn = rng.normal(128, 30, size=(len(labels), size, size, channels)) + shift[:, None, None]
        if several:  # a label also shows at a place of its own
            for label in range(classes):
                row, column = 2 + 6 * (label // 4), 2 + 6 * (label % 4)
                drawn[labels[:, label] == 1, row : row + 4, column : column + 4] += 60
        images = drawn.clip(0, 255).astype(np.uint8)
        arrays[f"{split}_images"] = images if channels == 3 else images[..., 0]
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    path = folder / (f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz")
    np.savez(path, **arrays)
    return path
