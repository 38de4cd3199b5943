import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.data.validation import Splits, read_splits

COUNTS = {"train": 40, "val": 20, "test": 30}
LABELS = {0: "normal", 1: "pneumonia"}


@pytest.fixture(scope="session")
def real_splits(official_file: Path) -> Splits:
    return read_splits(official_file, labels=LABELS, size=28, channels=1)


@pytest.fixture(scope="session")
def medmnist_file() -> Callable[[int, int], bytes]:
    """Make a small file in MedMNIST's layout: `COUNTS` images of random pixels, labels uint8 of shape (images, 1)."""

    def make(classes: int, channels: int) -> bytes:
        generator = np.random.default_rng(classes)
        shape = (28, 28) if channels == 1 else (28, 28, channels)
        arrays = {}
        for split, count in COUNTS.items():
            arrays[f"{split}_images"] = generator.integers(0, 256, size=(count, *shape), dtype=np.uint8)
            arrays[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    return make
