"""The form of a deployment: all fields of its flow, or the few that `prefect.yaml` names under `form`.

Prefect's server shows what a deployment's JSON schema has under `properties`, and refuses what the schema does not
take. A field that is not shown is a `patternProperties` there: the UI leaves it out, a run may set it all the same.
"""

from collections.abc import Collection, Mapping
from typing import Any

from prefect import Flow
from prefect.utilities.callables import parameter_schema

from models.errors import InputError

Schema = dict[str, Any]


def form_schema(flow: Flow[..., Any], shown: Mapping[str, Collection[str]] | None = None) -> Schema:
    """Describe the parameters of a flow as Prefect's server keeps them with a deployment.

    Args:
        flow: the flow; its parameters are forms of `tasks.parameters`.
        shown: names of the fields to show, by form; None shows all.

    Returns:
        A JSON schema, which takes the parameters of the flow and no others.

    Raises:
        InputError: the flow has no such form, or the form no such field.
    """
    schema: Schema = parameter_schema(flow).model_dump(exclude_unset=True)
    # With the names, the server refuses one that is misspelt when the run is made.
    schema |= {"propertyNames": {"enum": list(schema["properties"])}}
    if shown is None:
        return schema
    _check_names(shown, schema["properties"], "form")
    for name, parameter in schema["properties"].items():
        form = schema["definitions"][parameter["$ref"].rsplit("/", 1)[-1]]
        fields = shown.get(name, ())
        _check_names(fields, form["properties"], f"field of {name}")
        if fields:
            parameter["default"] = {field: parameter["default"][field] for field in fields}
            _show(form, fields)
    _show(schema, shown)
    return schema


def parameter_names(schema: Mapping[str, Any] | None) -> list[str]:
    """Return the names of all parameters that a schema of `form_schema` takes, shown or not."""
    found = schema or {}
    return list(found.get("propertyNames", {}).get("enum", found.get("properties", {})))


def _show(schema: Schema, names: Collection[str]) -> None:
    """Leave these properties, in their order, and take all others as patterns."""
    hidden = {name: field for name, field in schema["properties"].items() if name not in names}
    schema["properties"] = {name: schema["properties"][name] | {"position": place} for place, name in enumerate(names)}
    # Of a property without a default the server takes null by itself, of a pattern it does not.
    schema["patternProperties"] = {
        f"^{name}$": field if "default" in field else {"anyOf": [field, {"type": "null"}]}
        for name, field in hidden.items()
    }


def _check_names(names: Collection[str], known: Collection[str], kind: str) -> None:
    wrong = [name for name in names if name not in known]
    if wrong:
        raise InputError(f"form: {wrong[0]} is no {kind}, choose from {', '.join(known)}.")
