from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, Settings, temporary_settings

from tasks.execution.artifacts import _no_retries

ELSEWHERE = "http://127.0.0.1:9/api"


def test_requests_are_tried_once_and_the_settings_for_it_are_made_once(monkeypatch):
    made, copy = [], Settings.copy_with_update

    def counted(*given, **named):
        made.append(named)
        return copy(*given, **named)

    monkeypatch.setattr(Settings, "copy_with_update", counted)
    with temporary_settings({PREFECT_API_URL: ELSEWHERE, PREFECT_CLIENT_MAX_RETRIES: 3}):
        made.clear()
        for _ in range(3):
            with _no_retries():
                assert (PREFECT_CLIENT_MAX_RETRIES.value(), PREFECT_API_URL.value()) == (0, ELSEWHERE)
            assert PREFECT_CLIENT_MAX_RETRIES.value() == 3
        assert len(made) == 1
    with _no_retries():
        assert PREFECT_API_URL.value() != ELSEWHERE
