"""The compose file as Docker Compose reads it: variables replaced, anchors merged."""

import re

import yaml

from tests.conftest import CHECKOUT

FILE = CHECKOUT / "deployments" / "containers" / "compose.yaml"


def read(variables=None):
    """Return the contents of compose.yaml with its variables replaced by those given, else by their defaults."""
    variables = variables or {}
    text = re.sub(
        r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}",
        lambda found: variables.get(found["name"]) or found["default"] or "",
        FILE.read_text(),
    )
    return yaml.safe_load(text)
