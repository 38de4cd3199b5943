"""Three-way merge: what the file changed since the last registration, and what people changed on the server since."""

from collections.abc import Mapping
from typing import Any


class _Missing:
    """Stands for a field that is not there, which null is not."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def merged(base: Any, server: Any, file: Any) -> tuple[Any, list[str]]:
    """Merge field by field at every depth; a list counts as one value.

    Args:
        base: what was registered last, or `MISSING`.
        server: what is there now.
        file: what is to be registered.

    Returns:
        The server's value with what the file changed; the dotted names of fields that both changed, each in its own
        way, in which the server's value stands.
    """
    if file in (base, server):
        return server, []
    if isinstance(server, Mapping) and isinstance(file, Mapping):
        old = base if isinstance(base, Mapping) else {}
        fields, both = {}, []
        for name in [*server, *(name for name in file if name not in server)]:
            value, inner = merged(old.get(name, MISSING), server.get(name, MISSING), file.get(name, MISSING))
            both += [f"{name}.{rest}" if rest else name for rest in inner]
            if value is not MISSING:
                fields[name] = value
        return fields, both
    return (file, []) if server == base else (server, [""])
