from pathlib import Path

import pytest

from tasks.data.validation import Splits, read_splits

LABELS = {0: "normal", 1: "pneumonia"}


@pytest.fixture(scope="session")
def real_splits(official_file: Path) -> Splits:
    return read_splits(official_file, labels=LABELS, size=28)
