"""The forms of the Prefect UI: a snapshot of each, and what all of them keep to."""

import inspect

import pytest
from prefect.utilities.callables import parameter_schema

from tests.deployments.forms_of_flows import FOLDER, form_of, triggered_flows

FLOWS = {flow.name: flow for flow in triggered_flows().values()}
MODELS = dict.fromkeys(
    parameter.annotation for flow in FLOWS.values() for parameter in inspect.signature(flow.fn).parameters.values()
)
DEFINITIONS = {
    form: definition
    for flow in FLOWS.values()
    for form, definition in parameter_schema(flow).model_dump()["definitions"].items()
}
FIELDS = {
    f"{form}.{name}": schema
    for form, definition in DEFINITIONS.items()
    for name, schema in definition["properties"].items()
}
BOUNDS = ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"})
SIMPLE = {"string", "integer", "number", "boolean"}


@pytest.mark.parametrize("name", FLOWS)
def test_the_form_is_the_one_that_was_looked_at(name):
    """Renew the snapshots with `python -m tests.deployments.renew_forms`, and read what changed."""
    assert form_of(FLOWS[name]) == (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def test_there_is_no_snapshot_without_its_flow():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(FLOWS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_has_a_title_and_a_description_of_its_own(model):
    assert model.__doc__
    for name, field in model.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize("name", FLOWS)
def test_the_order_is_that_of_the_signature_and_of_the_classes(name):
    schema = parameter_schema(FLOWS[name]).model_dump()
    parameters = inspect.signature(FLOWS[name].fn).parameters
    assert _in_order(schema["properties"]) == list(parameters)
    for parameter in parameters.values():
        form = schema["definitions"][parameter.annotation.__name__]
        assert _in_order(form["properties"]) == list(parameter.annotation.model_fields)


@pytest.mark.parametrize("name", FLOWS)
def test_every_parameter_is_a_form_with_defaults(name):
    schema = parameter_schema(FLOWS[name]).model_dump()
    assert not schema["required"]
    for field in schema["properties"].values():
        assert field["$ref"].startswith("#/definitions/")
        assert field["default"] is not None


@pytest.mark.parametrize("schema", FIELDS.values(), ids=FIELDS)
def test_every_field_is_shown_as_an_input_with_bounds(schema):
    assert "default" in schema
    for part in _parts(schema):
        assert part["type"] in SIMPLE, f"{part} would be shown as raw JSON"
        if part["type"] in ("integer", "number") and "enum" not in part:
            assert all(bounds & part.keys() for bounds in BOUNDS), part


def _in_order(properties):
    positions = [field["position"] for field in properties.values()]
    assert sorted(positions) == list(range(len(positions)))
    return sorted(properties, key=lambda name: properties[name]["position"])


def _parts(schema):
    """Take what a person fills in: the items of a list, and what may also be left empty."""
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
        assert len(kinds) == 1 and len(schema["anyOf"]) == 2, "more than a value or nothing is shown as tabs"
        return _parts(kinds[0])
    return _parts(schema["items"]) if schema.get("type") == "array" else [schema]
