"""Small checkpoints, which every test in this folder may load but none may change."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder with a checkpoint by the name of the encoder that it fits."""
    from tests.models.encoders.twins import write_biomedclip, write_clip

    clip = write_clip(tmp_path_factory.mktemp("clip"))
    biomedclip = write_biomedclip(tmp_path_factory.mktemp("biomedclip"))
    return {"clip": clip, "pubmedclip": clip, "biomedclip": biomedclip}
