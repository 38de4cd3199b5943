"""Small checkpoints, which every test in these folders may load but none may change."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder with a checkpoint by the name of the encoder that it fits."""
    from tests.models.encoders.twins import write_biomedclip, write_clip, write_medsiglip, write_rad_dino

    clip = write_clip(tmp_path_factory.mktemp("clip"))
    biomedclip = write_biomedclip(tmp_path_factory.mktemp("biomedclip"))
    others = {
        "rad_dino": write_rad_dino(tmp_path_factory.mktemp("rad_dino")),
        "medsiglip": write_medsiglip(tmp_path_factory.mktemp("medsiglip")),
    }
    return {"clip": clip, "pubmedclip": clip, "biomedclip": biomedclip} | others
