"""What a run of a deployment runs with: the deployment's values, overlaid by those that it was given."""

import inspect
import random
import sys
from types import SimpleNamespace

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running
from prefect.utilities.callables import parameter_schema
from prefect.variables import Variable

from deployments.local.overlay import overlaid, overlay_parameters
from tasks.parameters.forms import FORMS
from tasks.parameters.presets import PRESETS
from tests.conftest import CHECKOUT

FILE = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS = {entry["name"]: entry for entry in FILE["deployments"]}


def _leaves(tree, path=()):
    if isinstance(tree, dict):
        return {key: leaf for name, inner in tree.items() for key, leaf in _leaves(inner, (*path, name)).items()}
    return {path: tree}


def _tree(draw, depth):
    if depth == 0:
        return draw.choice([0, 1, "text", None, [], [1, 2], [{"a": 1}], False])
    return {name: _tree(draw, depth - 1) for name in "abcd" if draw.random() < 0.7}


def test_every_field_that_was_given_is_given_and_every_other_is_the_deployments():
    draw = random.Random(0)
    for _ in range(1000):
        own, given = _tree(draw, 3), _tree(draw, 3)
        assert _leaves(overlaid(own, given)) == _leaves(own) | _leaves(given)


@pytest.mark.parametrize(
    ("own", "given", "run"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {"b": None}}),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [3]}}, {"a": {"b": [3]}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}),
        ({"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": 3}}}, {"a": {"b": {"c": 3, "d": 2}}}),
    ],
)
def test_null_counts_as_given_and_a_list_is_one_value(own, given, run):
    assert overlaid(own, given) == run


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_run_that_gives_one_field_keeps_the_others(name):
    """Each field of each form that the flow takes, with the value that the preset `debug` or the default has for it."""
    entry = DEPLOYMENTS[name]
    own, flow = entry.get("parameters", {}), load_flow_from_entrypoint(entry["entrypoint"])
    forms = inspect.signature(flow.fn).parameters
    before = {form: FORMS[form](**own.get(form, {})) for form in forms}
    for form, values in before.items():
        for field in type(values).model_fields:
            given = PRESETS["debug"].get(form, {}).get(field, type(values)().model_dump(mode="json")[field])
            found = flow.validate_parameters(overlaid(own, {form: {field: given}}))
            wanted = before | {form: values.model_copy(update={field: given})}
            assert {key: found.get(key, FORMS[key]()) for key in wanted} == wanted


def test_the_deployments_that_lost_their_values():
    run = overlaid(DEPLOYMENTS["pipeline-quickstart"]["parameters"], {"training": {"seed": 3}})
    assert run["training"] == PRESETS["quickstart"]["training"] | {"seed": 3}
    run = overlaid(DEPLOYMENTS["retrieval-nightly"]["parameters"], {"retrieval": {"galleries": 4}})
    assert run["retrieval"] == {"classifier": "champion", "galleries": 4}
    run = overlaid(DEPLOYMENTS["reports-medgemma"]["parameters"], {"reports": {"cases": 4}})
    assert run["reports"] == {"generator": "medgemma", "cases": 4}


def test_every_deployment_overlays():
    steps = [next(iter(step)) for step in FILE["pull"]]
    assert steps[-1] == "deployments.local.overlay.overlay_parameters"
    assert not any("pull" in entry for entry in DEPLOYMENTS.values())


@pytest.fixture
def started(prefect_server, monkeypatch):
    """Makes a run of a deployment with values of its own, and prepares it as a worker's process does."""
    with get_client(sync_client=True) as client:
        entry = DEPLOYMENTS["pipeline-quickstart"]
        form = parameter_schema(load_flow_from_entrypoint(entry["entrypoint"])).model_dump()
        flow = client.create_flow_from_name("pipeline")

        def start(own, given, state=None):
            # Without the server's check, as those of a schedule.
            deployment = client.create_deployment(
                flow, "overlaid", parameters=own, parameter_openapi_schema=form, enforce_parameter_schema=False
            )
            run = client.create_flow_run_from_deployment(deployment, parameters=given, state=state)
            monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(run.id))
            return lambda: client.read_flow_run(run.id)

        yield start
        client.delete_deployment(client.read_deployment_by_name("pipeline/overlaid").id)


def test_the_server_shows_what_the_run_runs_with(started):
    read = started(PRESETS["quickstart"], {"training": {"seed": 3}})
    assert read().parameters["training"] == {"seed": 3}  # Prefect's own merge, one level deep
    overlay_parameters()
    assert read().parameters == PRESETS["quickstart"] | {"training": PRESETS["quickstart"]["training"] | {"seed": 3}}


def test_reports_by_a_language_model_stay_so_when_a_run_is_given_two_fields(started):
    read = started(DEPLOYMENTS["reports-medgemma"]["parameters"], {"reports": {"cases": 3}, "training": {"seed": 3}})
    assert "generator" not in read().parameters["reports"]  # which would fall to the template
    overlay_parameters()
    assert read().parameters == {"reports": {"generator": "medgemma", "cases": 3}, "training": {"seed": 3}}


def test_a_value_that_names_a_variable_is_looked_up(started):
    Variable.set("epochs_of_a_test", 7, overwrite=True)
    named = {"__prefect_kind": "workspace_variable", "variable_name": "epochs_of_a_test"}
    read = started({"training": {"epochs": named}}, {"training": {"seed": 3}})
    overlay_parameters()
    assert read().parameters == {"training": {"epochs": 7, "seed": 3}}
    Variable.unset("epochs_of_a_test")


def test_a_run_that_is_tried_again_keeps_what_it_had(started):
    read = started({"training": {"epochs": 9}}, {"training": {"seed": 3}}, state=Running())
    overlay_parameters()
    assert read().parameters == {"training": {"seed": 3}}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"trainin": {"seed": 3}},
            "trainin is no parameter (did you mean training?), choose from dataset, training, evaluation, retrieval, "
            "reports, execution.",
        ),
        (
            {"execution": {"runer": "threads"}},
            "runer is no field of execution (did you mean runner?), choose from runner, workers, scheduler.",
        ),
        ({"training": {"epochs": 0}}, "training.epochs is 0: input should be greater than or equal to 1."),
    ],
)
def test_a_run_with_wrong_parameters_fails_and_goes_no_further(started, wrong, sentence):
    read = started({"training": {"epochs": 9}}, wrong)
    with pytest.raises(SystemExit) as ended:
        overlay_parameters()
    assert ended.value.code == 0
    assert (read().state.name, read().state.message) == ("Failed", sentence)


def test_a_run_whose_engine_has_read_its_parameters_already_fails(started, monkeypatch):
    """As with a work pool, or a run, that has a command of its own."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="prefect.engine"))
    whole = started({"training": {"epochs": 9}}, {})
    overlay_parameters()
    assert not whole().state.is_final()
    read = started({"training": {"epochs": 9}}, {"training": {"seed": 3}})
    with pytest.raises(SystemExit):
        overlay_parameters()
    assert read().state.name == "Failed"
    assert read().state.message.endswith("leave its Command empty.")


def test_a_server_that_does_not_answer_is_one_sentence_and_nothing_runs(started, capsys):
    read = started({"training": {"epochs": 9}}, {"training": {"seed": 3}})
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(SystemExit) as ended:
        overlay_parameters()
    assert ended.value.code == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"error: run {read().id} does not start: the Prefect server did not give its ")


def test_a_process_that_prepares_no_run_does_nothing(monkeypatch):
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    overlay_parameters()
