import pytest
from prefect.blocks.system import Secret

from models.errors import InputError
from tasks.execution.secrets import archive_login, generator_secret, hub_token, server_key


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("take", "variable"), [(hub_token, "HF_TOKEN"), (archive_login, "DICOMWEB_LOGIN")])
def test_a_secret_comes_from_its_block_else_from_the_environment(take, variable, monkeypatch):
    monkeypatch.setenv(variable, "from the environment")
    assert take("no-such-block") == "from the environment"
    Secret(value="from the block").save("secret-for-tests", overwrite=True)
    assert take("secret-for-tests") == "from the block"
    monkeypatch.setenv(variable, "")
    assert take("no-such-block") is None


@pytest.mark.usefixtures("prefect_server")
def test_only_a_key_that_somebody_put_into_the_block_goes_over_plain_http_and_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "ambient")
    for private in ("https://api.example.org/v1", "http://127.0.0.1:8000/v1"):
        assert server_key("no-such-block", private) == "ambient"
    with pytest.raises(InputError, match="OPENAI_API_KEY would go to http://vllm:8000/v1 over plain HTTP") as raised:
        server_key("no-such-block", "http://vllm:8000/v1")
    assert "ambient" not in str(raised.value)
    Secret(value="stored\n").save("key-for-tests", overwrite=True)
    with caplog.at_level("WARNING"):
        assert server_key("key-for-tests", "http://vllm:8000/v1") == "stored"
    assert "The key of the block key-for-tests goes to http://vllm:8000/v1 over plain HTTP" in caplog.text
    assert "stored" not in caplog.text
    monkeypatch.delenv("OPENAI_API_KEY")
    assert server_key("no-such-block", "http://vllm:8000/v1") is None


@pytest.mark.usefixtures("prefect_server")
def test_each_generator_gets_the_secret_that_it_needs_and_no_other(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("HF_TOKEN", "token")
    blocks = "no-such-block", "no-such-block"
    assert generator_secret("openai", *blocks, "http://localhost/v1") == "key"
    assert generator_secret("openai", *blocks, None) is None
    assert generator_secret("medgemma", *blocks, None) == "token"
    assert generator_secret("template", *blocks, None) is None
