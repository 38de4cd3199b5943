"""Names of runs: what differs, what a person chose, and the runs within a run; on a real server."""

import uuid
from functools import partial

import pytest
from mlflow import MlflowClient
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.flow_engine import run_flow
from prefect.states import Pending
from prefect.utilities.names import generate_slug

from flows.support.naming import LONGEST_NAME, PROPOSED_ADJECTIVES, difference, in_words, is_generated, named, run_name
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.forms import FORMS
from tasks.parameters.presets import PRESETS
from tasks.parameters.training import TrainingParameters
from tasks.storage.locations import tracking_uri
from tasks.tracking import runs
from tests.deployments.forms_of_flows import triggered_flows


@pytest.mark.parametrize(
    ("given", "start", "told"),
    [
        ({}, {}, ""),
        (
            {"dataset": {"limit": 160}, "training": {"epochs": 1, "loss": "focal"}}, {},
            "limit 160 · 1 epoch · focal",
        ),
        ({"training": {"epochs": 2, "learning_rate": 1e-3, "ema_decay": 0.9}}, {},
         "2 epochs · learning rate 0.001 · EMA decay 0.9"),
        # Against the values of a deployment, or of a preset.
        (PRESETS["quickstart"], PRESETS["quickstart"], ""),
        ({"training": PRESETS["quickstart"]["training"] | {"seed": 3}}, PRESETS["quickstart"],
         "no phantoms if missing · seed 3 · operating point balanced_likelihood · 5 folds of the label audit · 2 more"),
        ({"training": {"epochs": 30}}, {"training": {"epochs": 20}}, "30 epochs"),
        ({"dataset": {}}, {"dataset": {"limit": 160}}, "no limit"),
        # Lists, switches, folders.
        ({"retrieval": {"k_values": [1, 7], "encoders": ["clip"]}}, {}, "clip · k 1, 7"),
        ({"reports": {"controls": [], "strategies": ["concise"]}}, {}, "no controls · concise"),
        ({"sweep": {"losses": ["bce", "focal"], "seeds": [0, 1, 2, 3, 4]}}, {}, "bce, focal · 5 seeds"),
        ({"evaluation": {"promote": False}, "training": {"compile": True}}, {}, "compile · no register and promote"),
        ({"dataset": {"path": "/data/of/us/new.npz"}, "reports": {"model": "google/medgemma-1.5-4b-it"}}, {},
         "own data new.npz · model medgemma-1.5-4b-it"),
        ({"search": {"text": "left and/or right", "k": 5}}, {}, "text left and/or right · k 5"),
        ({"search": {"text": "\x1b[2J" + "x" * 1_000_000}}, {}, None),
        (PRESETS["debug"], {}, None),
    ],
)  # fmt: skip
def test_a_name_says_what_differs(given, start, told):
    names = {*given, *start}
    name = difference({form: FORMS[form](**given.get(form, {})) for form in FORMS if form in names}, start)
    assert name == told or told is None
    assert len(name) < LONGEST_NAME + 10
    assert not name or name.isprintable()


def test_values_that_do_not_fit_the_form_are_no_obstacle():
    named_variable = {"__prefect_kind": "workspace_variable", "variable_name": "epochs"}
    start = {"training": {"epochs": named_variable, "older": 1}, "retrieval": None}
    assert difference({"training": TrainingParameters(epochs=7), "record": object()}, start) == "7 epochs"


def test_a_trial_is_named_by_what_the_sweep_compares():
    assert in_words(TrainingParameters(loss="focal", seed=1), ["architecture", "loss", "seed"]) == (
        "ensemble28 · focal · seed 1"
    )


def test_names_that_nobody_chose_are_known():
    assert all(is_generated(generate_slug(2)) for _ in range(1000))
    assert all(is_generated(f"{word}-{animal}") for word in PROPOSED_ADJECTIVES for animal in ("Yak", "Akbash"))
    chosen = (
        "for Anna",
        "my-run",
        "seed 3",
        "for-anna",
        "Small-try-of-the-new-loss",
        "big",
        "pipeline-quickstart",
        "-",
    )
    assert not any(map(is_generated, chosen))


@pytest.mark.parametrize("name", triggered_flows())
def test_every_flow_is_named_here(name):
    given = triggered_flows()[name].flow_run_name
    assert getattr(given, "func", given) is run_name


@flow(flow_run_name=partial(run_name, "part"))
def inner(part: str) -> str:
    """Return the name of its run."""
    return _name()


@flow(flow_run_name=run_name)
def outer(dataset: DatasetParameters, training: TrainingParameters) -> tuple[str, ...]:
    """Return the names of its run, of its MLflow run and of a run within it."""
    with runs.tracked_run("pipeline", {"dataset": dataset}) as run:
        tracked = MlflowClient(tracking_uri()).get_run(run.run_id).info.run_name
        return _name(), tracked, inner("x")


def _name():
    return FlowRunContext.get().flow_run.name


FORMS_OF_A_TRY = DatasetParameters(limit=64), TrainingParameters(epochs=1)


@pytest.mark.usefixtures("prefect_server", "shared_outputs")
def test_a_run_its_mlflow_run_and_the_runs_within_have_one_name():
    assert outer(*FORMS_OF_A_TRY) == ("limit 64 · 1 epoch", "limit 64 · 1 epoch", "x · limit 64 · 1 epoch")
    assert outer(DatasetParameters(), TrainingParameters()) == ("standard", "standard", "x · standard")
    with named("this one"):
        assert outer(*FORMS_OF_A_TRY) == ("this one", "this one", "x · this one")


@pytest.fixture
def deployed(prefect_server, shared_outputs):
    """Runs a deployment with values of its own, as a worker's process does."""
    with get_client(sync_client=True) as client:
        own = {"dataset": {"limit": 64}, "training": {"epochs": 1}}
        name = f"named-{uuid.uuid4().hex[:8]}"
        deployment = client.create_deployment(
            client.create_flow_from_name("outer"), name, parameters=own, enforce_parameter_schema=False
        )

        def run(parameters, name=None, before=lambda: None):
            made = client.create_flow_run_from_deployment(deployment, name=name, parameters=parameters, state=Pending())
            before()
            found = run_flow(outer, flow_run=made, parameters=made.parameters)
            assert client.read_flow_run(made.id).name == found[0]
            return found[:2]

        yield run, name, partial(client.delete_deployment, deployment)


def test_a_run_of_a_deployment_says_what_differs_from_its_values(deployed):
    run, name, _ = deployed
    assert run({}) == (name, name)
    changed = {"training": {"epochs": 1, "seed": 3, "loss": "focal"}}
    assert run(changed) == ("focal · seed 3", "focal · seed 3")
    assert run(changed, "Sleek-Falcon") == ("focal · seed 3", "focal · seed 3")  # as the form of the UI proposes


def test_a_name_that_a_person_chose_stays(deployed):
    run, _, _ = deployed
    assert run({}, "for Anna") == ("for Anna", "for Anna")
    (name, tracked) = run({}, "x" * 1000)
    assert name == "x" * 1000
    assert len(tracked) == 250  # what a database of MLflow takes


def test_a_deployment_that_is_gone_is_no_obstacle(deployed):
    run, _, delete = deployed
    assert run({}, before=delete) == ("limit 64 · 1 epoch", "limit 64 · 1 epoch")
