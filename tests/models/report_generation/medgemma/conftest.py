"""A small checkpoint of MedGemma's classes, which every test in this folder may load but none may change."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a checkpoint with random weights."""
    from tests.support.medgemma_twin import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small", "small")
