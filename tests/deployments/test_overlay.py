"""What a run of a deployment runs with: the deployment's values, overlaid by those that it was given."""

import inspect
import random

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from deployments.overlay import overlaid
from tasks.parameters import FORMS, PRESETS
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
    assert run["training"] == {"architecture": "compact28", "epochs": 20, "seed": 3}
    run = overlaid(DEPLOYMENTS["retrieval-nightly"]["parameters"], {"retrieval": {"galleries": 4}})
    assert run["retrieval"] == {"classifier": "champion", "galleries": 4}
    run = overlaid(DEPLOYMENTS["reports-medgemma"]["parameters"], {"reports": {"cases": 4}})
    assert run["reports"] == {"generator": "medgemma", "cases": 4}


def test_every_deployment_overlays():
    steps = [next(iter(step)) for step in FILE["pull"]]
    assert steps[-1] == "deployments.overlay.overlay_parameters"
    assert not any("pull" in entry for entry in DEPLOYMENTS.values())
