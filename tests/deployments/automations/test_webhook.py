import pytest

from deployments.automations.webhook import alerts_webhook
from models.errors import InputError


@pytest.mark.parametrize("address", ["https://hooks.example/services/T0", "http://127.0.0.1:8065/hooks/x?y=z"])
def test_an_address_is_taken(monkeypatch, address):
    monkeypatch.setenv("ALERTS_WEBHOOK", address)
    assert alerts_webhook() == address


@pytest.mark.parametrize("text", [None, "", "none"])
def test_there_may_be_none(monkeypatch, text):
    monkeypatch.delenv("ALERTS_WEBHOOK", raising=False)
    if text is not None:
        monkeypatch.setenv("ALERTS_WEBHOOK", text)
    assert alerts_webhook() is None


@pytest.mark.parametrize("text", ["hooks.example/T0", "ftp://a.b/T0", "https:///T0", "http://a:b/T0", "http://a.b/T 0"])
def test_what_is_no_address_is_one_sentence_that_does_not_repeat_it(monkeypatch, text):
    monkeypatch.setenv("ALERTS_WEBHOOK", text)
    with pytest.raises(InputError, match="ALERTS_WEBHOOK is not an address") as error:
        alerts_webhook()
    assert text not in str(error.value)
