import pytest
from prefect.blocks.system import Secret

from tasks.execution.secrets import archive_login, hub_token


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("take", "variable"), [(hub_token, "HF_TOKEN"), (archive_login, "DICOMWEB_LOGIN")])
def test_a_secret_comes_from_its_block_else_from_the_environment(take, variable, monkeypatch):
    monkeypatch.setenv(variable, "from the environment")
    assert take("no-such-block") == "from the environment"
    Secret(value="from the block").save("secret-for-tests", overwrite=True)
    assert take("secret-for-tests") == "from the block"
    monkeypatch.setenv(variable, "")
    assert take("no-such-block") is None
