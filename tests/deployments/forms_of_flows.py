"""The flows that a person triggers, and snapshots of the forms that the Prefect UI shows for them."""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

from prefect import Flow

import flows
from tasks.parameters.forms import FORMS

FOLDER = Path(__file__).parent / "forms"


def triggered_flows() -> dict[str, Flow[..., Any]]:
    """Find the flows that bear the name of their module, which are those that a person triggers."""
    modules = (importlib.import_module(f"flows.{module.name}") for module in pkgutil.iter_modules(flows.__path__))
    found = {module.__name__: getattr(module, module.__name__.rpartition(".")[2], None) for module in modules}
    return {name: flow for name, flow in found.items() if isinstance(flow, Flow)}


def snapshot(form: str) -> str:
    """Write the schema of a form: a line for the form itself, then one per field, in the order of the UI."""
    schema = FORMS[form].model_json_schema()
    fields = schema.pop("properties")
    lines = [f"  {_json(name)}: {_json(field)}" for name, field in fields.items()]
    return f'{_json(schema)[:-1]}, "properties": {{\n' + ",\n".join(lines) + "\n}}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
