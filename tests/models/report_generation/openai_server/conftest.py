import pytest


@pytest.fixture
def quick(monkeypatch):
    """Wait a thousandth of what the library waits before it tries again."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0005)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.008)
