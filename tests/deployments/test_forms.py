"""The forms of the Prefect UI: a snapshot of each, which flow shows which, and what all of them keep to."""

import inspect
import json
import re

import numpy as np
import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from deployments.local.form import form_schema
from tasks.parameters.forms import FORMS
from tests.deployments.forms_of_flows import FOLDER, snapshot, triggered_flows

FLOWS = {flow.name: flow for flow in triggered_flows().values()}
SHOWN = {
    "add": ["add"],
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
BOUNDS = {"minimum", "maximum"}  # those that the browser knows; of others it could not say what is wrong
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
                "default": {field: shown.get("default") for field, shown in schema["properties"].items()},
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
    part = schema["items"] if schema["type"] == "array" else schema
    assert part["type"] in SIMPLE, f"{part} would be shown as raw JSON or as tabs"
    if part["type"] in ("integer", "number") and "enum" not in part:
        assert part.keys() >= BOUNDS
        assert not part.keys() & {"exclusiveMinimum", "exclusiveMaximum"}
        assert f"rom {_told(part['minimum'])} to {_told(part['maximum'])}" in schema["description"]
    if "minItems" in schema:
        assert re.search(rf"(At least|From) {schema['minItems']} ", schema["description"])


@pytest.mark.parametrize(("form", "name"), [field.split(".") for field in FIELDS])
def test_a_field_without_a_default_may_be_left_empty(form, name):
    """An empty input is left out of what the UI sends; what other clients send as null is taken too."""
    schema, model = FIELDS[f"{form}.{name}"], FORMS[form]
    if "default" in schema:
        assert schema["default"] == model().model_dump(mode="json")[name]
        return
    assert getattr(model(), name) is None
    flow = next(flow for flow in FLOWS.values() if form in SHOWN[flow.name])
    for empty in ({form: {}}, {form: {name: None}}):
        validate(empty, form_schema(flow), raise_on_error=True)
        assert getattr(model(**empty[form]), name) is None


def _told(number):
    return f"{number:,}" if isinstance(number, int) else np.format_float_positional(number, trim="-")
