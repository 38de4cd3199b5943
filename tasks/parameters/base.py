"""What all forms have in common.

The Prefect UI shows the models of this package as forms and the shell makes its options from them. Defaults stand
nowhere else, but for the training's, whose form is made of `models.classifier.training_settings`.
"""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

from models.text import holds_login


def _fit_for_the_ui(schema: dict[str, Any]) -> None:
    """Make a form's schema into one that the Prefect UI shows well.

    The fields are numbered: the UI goes by these numbers, and PostgreSQL keeps no order of the fields. A field that may
    be left empty is one input without a default: the UI shows alternatives as tabs, of which one says `Property is type
    "None"`. Prefect's server takes null for such a field all the same.
    """
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
        values = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
        if len(values) == 1:
            del field["anyOf"]
            field.update(values[0])
            if field.get("default", ...) is None:
                del field["default"]


def bounds(field: dict[str, Any]) -> str:
    """Say in a sentence what a field takes, as the Prefect UI refuses all else but does not say what is right.

    Args:
        field: its JSON schema.

    Returns:
        `From 1 to 500.` for instance; empty where there are no bounds.
    """
    if field.get("type") == "array":
        count, value = _range(field, "minItems", "maxItems"), _range(field["items"], "minimum", "maximum")
        text = ", ".join([f"{count} of them"] * bool(count) + [f"each {value}"] * bool(value))
    else:
        text = _range(field, "minimum", "maximum")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _range(field: dict[str, Any], least: str, most: str) -> str:
    low, high = (format(Decimal(repr(field[name])), ",f") if name in field else "" for name in (least, most))
    if low and high:
        return f"from {low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else ""


class Parameters(BaseModel):
    """Base of all forms: frozen, in the order of the class, and a misspelt field is an error.

    The description of a field ends with its bounds, in the form and in the shell's `--help`. No value holds an address
    with a login: parameters are stored with every run, and shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_fit_for_the_ui)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Write the bounds of each field into its description."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, schema in cls.model_json_schema()["properties"].items():
            field = cls.model_fields[name]
            told = field.description or ""
            if not told.endswith(bounds(schema)):  # as that of a form which this one extends
                field.description = f"{told} {bounds(schema)}".strip()
        cls.model_rebuild(force=True)

    @field_validator("*", mode="before")
    @classmethod
    def _without_login(cls, value: Any) -> Any:
        if any(isinstance(each, str) and holds_login(each) for each in (value if isinstance(value, list) else [value])):
            raise PydanticCustomError("login", "It holds a login, which would be stored and shown: leave it out")
        return value
