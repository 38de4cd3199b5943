"""The forms of the Prefect UI: a snapshot of each, which flow shows which, and what all of them keep to."""

import inspect
import json

import pytest
from prefect.utilities.callables import parameter_schema

from tasks.parameters.forms import FORMS
from tests.deployments.forms_of_flows import FOLDER, snapshot, triggered_flows

FLOWS = {flow.name: flow for flow in triggered_flows().values()}
SHOWN = {
    "champion": ["champion"],
    "classification": ["dataset", "training", "evaluation"],
    "pipeline": ["dataset", "training", "evaluation", "retrieval", "reports", "execution"],
    "reports": ["dataset", "training", "evaluation", "retrieval", "reports", "execution"],
    "retrieval": ["dataset", "training", "evaluation", "retrieval", "execution"],
    "search": ["search"],
    "sweep": ["dataset", "training", "evaluation", "sweep", "execution"],
}
"""The forms of each flow, in the order in which it shows them."""
FIELDS = {
    f"{form}.{name}": schema
    for form, model in FORMS.items()
    for name, schema in model.model_json_schema()["properties"].items()
}
BOUNDS = ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"})
SIMPLE = {"string", "integer", "number", "boolean"}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_the_one_that_was_looked_at(form):
    """Renew the snapshots with `python -m tests.deployments.renew_forms`, and read what changed."""
    assert snapshot(form) == (FOLDER / f"{form}.json").read_text(encoding="utf-8")


def test_every_snapshot_is_of_a_form_and_every_form_is_shown():
    assert (
        {file.stem for file in FOLDER.glob("*.json")}
        == set(FORMS)
        == {form for shown in SHOWN.values() for form in shown}
    )


def test_the_flows_show_their_forms_in_order():
    assert {name: list(inspect.signature(flow.fn).parameters) for name, flow in FLOWS.items()} == SHOWN


@pytest.mark.parametrize("name", SHOWN)
def test_a_flow_shows_exactly_its_forms_with_their_defaults(name):
    forms = {form: json.loads((FOLDER / f"{form}.json").read_text(encoding="utf-8")) for form in SHOWN[name]}
    assert parameter_schema(FLOWS[name]).model_dump() == {
        "title": "Parameters",
        "type": "object",
        "required": [],
        "properties": {
            form: {
                "$ref": f"#/definitions/{schema['title']}",
                "default": {field: shown["default"] for field, shown in schema["properties"].items()},
                "position": position,
                "title": form,
            }
            for position, (form, schema) in enumerate(forms.items())
        },
        "definitions": {schema["title"]: schema for schema in forms.values()},
    }


@pytest.mark.parametrize("form", FORMS)
def test_the_fields_are_in_the_order_of_the_class_and_each_has_a_title_and_a_sentence(form):
    schema = FORMS[form].model_json_schema()
    assert schema["description"]
    assert [field["position"] for field in schema["properties"].values()] == list(range(len(schema["properties"])))
    assert list(schema["properties"]) == list(FORMS[form].model_fields)
    for name, field in FORMS[form].model_fields.items():
        assert field.title, name
        assert field.description and field.description.endswith("."), name


@pytest.mark.parametrize("schema", FIELDS.values(), ids=FIELDS)
def test_every_field_is_shown_as_an_input_with_bounds(schema):
    assert "default" in schema
    for part in _parts(schema):
        assert part["type"] in SIMPLE, f"{part} would be shown as raw JSON"
        if part["type"] in ("integer", "number") and "enum" not in part:
            assert all(bounds & part.keys() for bounds in BOUNDS), part


def _parts(schema):
    """Take what a person fills in: the items of a list, and what may also be left empty."""
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
        assert len(kinds) == 1 and len(schema["anyOf"]) == 2, "more than a value or nothing is shown as tabs"
        return _parts(kinds[0])
    return _parts(schema["items"]) if schema.get("type") == "array" else [schema]
