"""The flows that a person triggers, and the forms that Prefect makes of them."""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.utilities.callables import parameter_schema

import flows

FOLDER = Path(__file__).parent / "forms"


def triggered_flows() -> dict[str, Flow[..., Any]]:
    """Find the flows that bear the name of their module, which are those that a person triggers."""
    modules = (importlib.import_module(f"flows.{module.name}") for module in pkgutil.iter_modules(flows.__path__))
    found = {module.__name__: getattr(module, module.__name__.rpartition(".")[2], None) for module in modules}
    return {name: flow for name, flow in found.items() if isinstance(flow, Flow)}


def form_of(flow: Flow[..., Any]) -> str:
    """Write the form that the Prefect UI shows; its order is in the positions, not in the text."""
    schema = parameter_schema(flow).model_dump()
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
