"""JSON from a file that may be damaged or hostile."""

import json
from typing import Any

from models.bounds import JSON_BYTES, JSON_DEPTH

_CONTAINERS = (dict, list)


def parse_json(content: bytes | str, most: int = JSON_BYTES) -> Any:
    """Parse a JSON text of bounded length and depth.

    Args:
        content: the text, in UTF-8 if bytes.
        most: bytes, or characters, that it may have.

    Returns:
        Its value.

    Raises:
        ValueError: it is no JSON, too long or too deep.
    """
    if len(content) > most:
        raise ValueError(f"it holds {len(content)} bytes of JSON, more than {most}")
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"its JSON is nested deeper than {JSON_DEPTH}") from error
    level, depth = [value] if isinstance(value, _CONTAINERS) else [], 0
    while level:
        depth += 1
        if depth > JSON_DEPTH:
            raise ValueError(f"its JSON is nested deeper than {JSON_DEPTH}")
        values = (outer.values() if isinstance(outer, dict) else outer for outer in level if outer)
        level = [inner for each in values for inner in each if isinstance(inner, _CONTAINERS)]
    return value
