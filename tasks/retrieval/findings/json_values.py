"""What JSON can say."""

from collections.abc import Mapping
from typing import Any


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON does not know, by None."""
    return {name: None if isinstance(value, float) and value != value else value for name, value in values.items()}
