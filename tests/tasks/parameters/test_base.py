"""The bounds of a field in words, made from its schema."""

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from tasks.parameters.base import Parameters, bounds
from tasks.parameters.cases import CasesParameters
from tasks.parameters.dataset import DatasetParameters


class Form(Parameters):
    """A form."""

    many: list[Annotated[int, Field(ge=1, le=200)]] = Field([1], min_length=1, max_length=10, description="Many.")
    some: float | None = Field(None, ge=1e-6, description="Some.")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 1_000_000}, "From 1 to 1,000,000."),
        ({"type": "number", "minimum": 1e-06, "maximum": 0.499}, "From 0.000001 to 0.499."),
        ({"type": "number", "minimum": 0}, "At least 0."),
        ({"type": "number", "maximum": 5}, "At most 5."),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "At least 1 of them."),
        ({"type": "array", "items": {"type": "integer", "minimum": 0}}, "Each at least 0."),
        ({"type": "array", "items": {"type": "string"}}, ""),
        ({"type": "string", "minLength": 1}, ""),
        ({"type": "integer", "enum": [28, 64]}, ""),
    ],
)
def test_bounds_are_said_as_a_person_would(schema, told):
    assert bounds(schema) == told


def test_the_description_of_a_field_ends_with_its_bounds_once():
    class More(Form):
        """A form of a form."""

    for form in (Form, More):
        assert form.model_fields["many"].description == "Many. From 1 to 10 of them, each from 1 to 200."
        assert form.model_fields["some"].description == "Some. At least 0.000001."
        shown = form.model_json_schema()["properties"]
        assert shown["many"]["description"] == form.model_fields["many"].description
        assert shown["some"] == {
            "description": "Some. At least 0.000001.",
            "minimum": 1e-06,
            "position": 1,
            "title": "Some",
            "type": "number",
        }


@pytest.mark.parametrize(
    ("form", "field", "value"),
    [
        (DatasetParameters, "path", "https://me:secret@data.example/x.npz"),
        (CasesParameters, "images", ["a.png", "ftp://secret@scans.example/"]),
    ],
)
def test_an_address_with_a_login_is_no_parameter_since_they_are_stored_and_shown(form, field, value):
    with pytest.raises(ValidationError, match="holds a login, which would be stored and shown: leave it out"):
        form(**{field: value})
