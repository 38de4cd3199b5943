"""Small checkpoints, which every test in this folder may load but none may change."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.models.encoders.twins import write_clip

    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def biomedclip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.models.encoders.twins import write_biomedclip

    return write_biomedclip(tmp_path_factory.mktemp("biomedclip"))
