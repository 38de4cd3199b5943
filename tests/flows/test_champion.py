"""The champion, shown and restored from the shell."""

import pytest
from mlflow import MlflowClient

from flows.champion import champion
from flows.support.promotion import promote
from flows.support.shell import main
from tasks.parameters.champion import ChampionParameters
from tasks.records.base import RunReference
from tasks.storage.locations import tracking_uri
from tasks.tracking import registry, runs
from tests.support.pages import page_of
from tests.tasks.tracking.test_registry import package

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")
NAME = "pneumonia-classifier"


@pytest.fixture(scope="module", autouse=True)
def _two_versions(shared_outputs):
    runs.prepare()
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    for seed in (0, 1):
        run = RunReference(run_id=client.create_run(experiment).info.run_id)
        promote(run, registry.register(run, NAME, package(seed)), lambda stored: (True, "It is better."))


def _aliases():
    return {version.version: version.aliases for version in registry.versions(NAME)}


def test_the_versions_are_shown_newest_first_and_nothing_changes(capsys):
    state = champion(ChampionParameters(), return_state=True)
    rows = state.result()
    assert [(row["version"], row["alias"], row["reason"]) for row in rows] == [
        ("2", "champion", "It is better."),
        ("1", "previous", "Replaced by version 2. It is better."),
    ]
    assert rows[0]["val/auc"] == "0.9900"
    assert _aliases() == {2: ("champion",), 1: ("previous",)}
    assert "| 2 | champion | 0.9900 |" in page_of(str(state.state_details.flow_run_id))
    assert "champion" in capsys.readouterr().out


def test_a_version_is_restored_from_the_shell(capsys):
    assert main(champion, ["--champion.version", "1", "--champion.reason", "it missed cases"]) == 0
    assert _aliases() == {1: ("champion",), 2: ("previous",)}
    assert "Set by hand: it missed cases" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert main(champion, ["--champion.version", "previous"]) == 0
    assert _aliases() == {2: ("champion",), 1: ("previous",)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--champion.version 9", "error: pneumonia-classifier has no version '9'; choose one of: 2, 1."),
        ("--champion.name no-classifier", "error: No classifier is registered as 'no-classifier' (registered: "),
        ("--champion.version newest", "error: --champion.version: String should match"),
    ],
)
def test_what_does_not_exist_is_one_sentence_and_exit_code_2(words, told, capsys):
    assert main(champion, words.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith(told)
    assert "Traceback" not in captured.err + captured.out
