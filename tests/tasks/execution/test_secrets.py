import pytest
from prefect.blocks.system import Secret

from tasks.execution.secrets import hub_token


@pytest.mark.usefixtures("prefect_server")
def test_the_token_comes_from_the_secret_block_else_from_the_environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "from the environment")
    assert hub_token("no-such-block") == "from the environment"
    Secret(value="from the block").save("hub-token-for-tests", overwrite=True)
    assert hub_token("hub-token-for-tests") == "from the block"
    monkeypatch.setenv("HF_TOKEN", "")
    assert hub_token("no-such-block") is None
