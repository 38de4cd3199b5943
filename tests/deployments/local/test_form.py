"""What the form of a deployment shows, and what it takes."""

import pytest
from prefect.utilities.schema_tools import ValidationError, validate

from deployments.local.form import form_schema, parameter_names
from flows.pipeline import pipeline
from flows.search import search
from tasks.parameters.forms import FORMS
from tests.deployments.local.test_overlay import DEPLOYMENTS

QUICKSTART = DEPLOYMENTS["pipeline-quickstart"]
FORM = form_schema(pipeline, QUICKSTART["form"])


def _shown(schema):
    """Take the fields that the UI shows, in its order, as it resolves and sorts them."""
    found = {}
    for name, form in sorted(schema["properties"].items(), key=lambda item: item[1]["position"]):
        fields = schema["definitions"][form["$ref"].rsplit("/", 1)[-1]]["properties"]
        found[name] = sorted(fields, key=lambda field: fields[field]["position"])
    return found


def test_the_quickstart_shows_six_fields():
    assert _shown(FORM) == {
        "dataset": ["name", "limit"], "training": ["architecture", "epochs", "seed"], "reports": ["cases"],
    }  # fmt: skip
    assert FORM["properties"]["reports"]["default"] == {"cases": 24}  # what the UI sends of a form without own values


def test_a_form_without_a_list_shows_all_fields():
    schema = form_schema(pipeline)
    assert "patternProperties" not in str(schema)
    assert _shown(schema) == {name: list(FORMS[name].model_fields) for name in parameter_names(FORM)}
    assert parameter_names(form_schema(search)) == ["search"]
    assert parameter_names(None) == []


@pytest.mark.parametrize(
    ("form", "name", "value"),
    [
        (form, name, value)
        for form in parameter_names(FORM)
        for name, value in FORMS[form]().model_dump(mode="json").items()
    ],
)
def test_a_field_that_is_not_shown_is_taken_all_the_same(form, name, value):
    validate({form: {name: value}}, FORM, raise_on_error=True)
    with pytest.raises(ValidationError):
        validate({form: {f"{name}x": value}}, FORM, raise_on_error=True)


def test_the_deployments_own_values_fit_its_form():
    validate(QUICKSTART["parameters"], FORM, raise_on_error=True)
