import os
from pathlib import Path

import pytest

from tasks.data.validation import Splits, read_splits

LABELS = {0: "normal", 1: "pneumonia"}


@pytest.fixture(scope="session")
def real_file() -> Path:
    named = [os.environ.get("DATA"), os.environ.get("MEDMNIST_ROOT")]
    for folder in [*named, Path.home() / ".medmnist", "data", "../shared/data"]:
        if folder and (file := Path(folder) / "pneumoniamnist.npz").is_file():
            return file
    pytest.skip("pneumoniamnist.npz is in none of the folders where the project looks")


@pytest.fixture(scope="session")
def real_splits(real_file: Path) -> Splits:
    return read_splits(real_file, labels=LABELS, size=28)
