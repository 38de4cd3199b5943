"""Addresses in MLflow's pages."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tasks.tracking import pages


@pytest.mark.parametrize(
    "address",
    [
        pages.start_page("http://host:1"), pages.run_page("1", "r"), pages.run_page("1", "r", "cases/index.html"),
        pages.view_page("1", pages.LEADERBOARD), pages.view_page("1", pages.FIGURES, within=True),
    ],
)  # fmt: skip
def test_no_address_opens_the_pages_for_language_models(address):
    assert parse_qs(urlsplit(urlsplit(address).fragment).query)["workflowType"] == ["machine_learning"]


def test_figures_open_as_pictures_at_once(monkeypatch):
    monkeypatch.setenv("MLFLOW_UI_URL", "http://host:1/")
    address = pages.view_page("7", pages.FIGURES)
    assert address.startswith("http://host:1/#/experiments/7/runs?viewStateShareKey=figures&compareRunsMode=CHART&")
    assert "compareRunsMode" not in pages.view_page("7", pages.LEADERBOARD)


def test_within_mlflow_an_address_names_no_server():
    assert pages.run_page("1", "r", "a b/c.html", within=True).startswith(
        "#/experiments/1/runs/r/artifacts/a%20b/c.html?"
    )
