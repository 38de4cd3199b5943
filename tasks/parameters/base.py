"""What all forms have in common.

The Prefect UI shows the models of this package as forms and the shell makes its options from them. Defaults stand
nowhere else, but for the training's, whose form is made of `models.classifier.training_settings`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict


def _number_fields(schema: dict[str, Any]) -> None:
    """Number the fields: the Prefect UI goes by these numbers, and PostgreSQL keeps no order of the fields."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


class Parameters(BaseModel):
    """Base of all forms: frozen, in the order of the class, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_number_fields)
