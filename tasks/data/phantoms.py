"""Chest phantoms drawn from ellipses, which stand in where no dataset can be had.

They let the whole workflow run anywhere; they are not patients, and figures computed on them say nothing about X-rays.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.data.validation import Splits

COUNTS = {"train": 480, "val": 96, "test": 160}
PNEUMONIA_SHARES = {"train": 0.742, "val": 0.742, "test": 0.625}  # as in PneumoniaMNIST

_Floats = NDArray[np.floating]
_Number = float | _Floats
_CHUNK = 64  # images drawn at once, which bounds memory at 224 pixels


def draw_phantoms(size: int, seed: int) -> Splits:
    """Draw a small dataset: lungs, ribs, spine, heart and noise; in pneumonia, soft bright patches in a lung.

    Args:
        size: height and width of the images in pixels.
        seed: seed of the drawing; the same seed gives the same images.

    Returns:
        The dataset, with `COUNTS` images a split and `PNEUMONIA_SHARES` of them labelled 1.
    """
    generator = np.random.default_rng(seed)
    images, labels = {}, {}
    for split, count in COUNTS.items():
        targets = (np.arange(count) < round(PNEUMONIA_SHARES[split] * count)).astype(np.int64)
        labels[split] = generator.permutation(targets)
        chunks = [labels[split][start : start + _CHUNK] for start in range(0, count, _CHUNK)]
        images[split] = np.concatenate([_draw(chunk, size, generator) for chunk in chunks])
    return Splits(
        train_images=images["train"],
        val_images=images["val"],
        test_images=images["test"],
        train_labels=labels["train"],
        val_labels=labels["val"],
        test_labels=labels["test"],
    )


def _draw(labels: NDArray[np.int64], size: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one image per label; coordinates run from -1 to 1, brightness from 0 to 1."""
    count = len(labels)

    def vary(low: float, high: float) -> _Floats:
        return generator.uniform(low, high, size=(count, 1, 1)).astype(np.float32)

    axis = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    x = (axis[None, None, :] - vary(-0.08, 0.08)) * vary(0.92, 1.12)
    y = (axis[None, :, None] - vary(-0.08, 0.08)) * vary(0.92, 1.12)

    body = _ellipse(x, y, 0, 0.15, vary(0.88, 1.0), 1.25, softness=0.10)
    lung_height, lung_width = vary(0.58, 0.72), vary(0.27, 0.34)
    lungs = _ellipse(x, y, vary(-0.47, -0.42), vary(-0.08, 0.02), lung_width, lung_height, softness=0.16)
    lungs = np.maximum(
        lungs, _ellipse(x, y, vary(0.42, 0.47), vary(-0.08, 0.02), lung_width * 0.95, lung_height, softness=0.16)
    )
    ribs = np.clip(np.sin(vary(15, 19) * (y - 0.45 * x**2) + vary(0, 6.28)), 0, 1) * _ellipse(
        x, y, 0, 0, 0.85, 0.9, softness=0.1
    )
    spine = np.exp(-((x / 0.11) ** 2))
    heart = _ellipse(x, y, vary(0.08, 0.18), vary(0.25, 0.38), vary(0.26, 0.38), vary(0.26, 0.34), softness=0.2)
    # Vessels brighten the middle of healthy lungs too, so brightness alone does not give the class away.
    vessels = np.zeros_like(body)
    for _ in range(3):
        vessels += _patch(x, y, vary(-0.38, 0.38), vary(-0.2, 0.3), vary(0.08, 0.22)) * vary(0, 0.2)

    side = np.where(generator.random((count, 1, 1)) < 0.5, -1, 1).astype(np.float32)
    patches = np.zeros_like(body)
    for _ in range(2):
        patches += _patch(x, y, side * vary(0.3, 0.58), vary(-0.4, 0.45), vary(0.14, 0.32)) * vary(0.0, 0.4)
    brightness = body * (0.62 - 0.42 * lungs) + 0.12 * ribs * body + 0.16 * spine * body + 0.30 * heart * body
    brightness += lungs * (vessels + patches * labels[:, None, None])
    brightness = np.clip(brightness, 0, 1) ** vary(0.75, 1.35) * vary(0.75, 1.0) + vary(0.0, 0.12)
    noise = generator.standard_normal((count, size, size), dtype=np.float32) * vary(0.02, 0.06)
    return np.clip((brightness + noise) * 255, 0, 255).astype(np.uint8)


def _ellipse(
    x: _Floats,
    y: _Floats,
    centre_x: _Number,
    centre_y: _Number,
    width: _Number,
    height: _Number,
    *,
    softness: float,
) -> _Floats:
    """Fill an ellipse with half axes `width` and `height`: 1 inside, 0 outside, a soft edge between."""
    radius = np.hypot((x - centre_x) / width, (y - centre_y) / height)
    return np.asarray(np.clip((1 - radius) / softness + 0.5, 0, 1), dtype=np.float32)


def _patch(
    x: _Floats,
    y: _Floats,
    centre_x: _Floats,
    centre_y: _Floats,
    radius: _Floats,
) -> _Floats:
    """Draw a soft round patch, a Gaussian of standard deviation `radius`."""
    return np.asarray(np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * radius**2)), dtype=np.float32)
