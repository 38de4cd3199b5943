"""Fingerprint of the code that can change the answer of a step.

The code is the step's own function, the functions and constants of its file that it uses, and every project module
that it reaches, found from the imports; one that imports modules by name (`import_module`) reaches all those beside it.
Comments, docstrings, formatting and the texts of form fields do not count, for the fingerprint is taken of the syntax
tree. What does not count is named in `NOT_COUNTED`.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks.storage.parsing import one_parses

PACKAGES = ("flows", "tasks", "models")
NOT_COUNTED = (
    *("flows.support", "tasks.parameters", "tasks.records", "tasks.execution", "tasks.storage", "tasks.tracking"),
    "models.choices",
)
"""They move, name and record results; what they decide (parameters, digests of inputs) is in the key by value."""
_FILE_NAME = re.compile(r"[\w-]{1,60}(\.\w{1,10})?")


class Fingerprint(NamedTuple):
    """What a step's answer depends on besides its inputs.

    Attributes:
        code: digest by module; the step's own part under `module:function`.
        libraries: installed version by distribution, of the libraries that the code imports.
    """

    code: dict[str, str]
    libraries: dict[str, str]


@functools.cache
def fingerprint(function: Callable[..., Any]) -> Fingerprint:
    """Take the fingerprint of a function.

    Args:
        function: a function defined at the top level of a project module.

    Returns:
        Digests of the code it reaches and the versions of the libraries that this code imports.
    """
    function = inspect.unwrap(function)
    own, found = _part_of(function)
    code = {f"{function.__module__}:{function.__name__}": own}
    libraries: set[str] = set()
    pending = list(found)
    while pending:
        name = pending.pop()
        if name.split(".")[0] not in PACKAGES:
            libraries.add(name.split(".")[0])
            continue
        file = _module_file(name)
        if name in code or file is None or _does_not_count(name):
            continue
        digests, further = _module(name, file)
        code |= digests
        pending += further
    return Fingerprint(dict(sorted(code.items())), _versions(libraries))


def imported(function: Callable[..., Any]) -> tuple[str, ...]:
    """Name the modules that a function and what it uses of its own file import, by name.

    Args:
        function: as `fingerprint` takes it.
    """
    return tuple(sorted(_part_of(inspect.unwrap(function))[1]))


@functools.cache
def _part_of(function: Callable[..., Any]) -> tuple[str, set[str]]:
    return _own_part(_parse(inspect.getsourcefile(function) or ""), function.__name__)


@functools.cache  # most steps reach the same modules
def _module(name: str, file: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Digest a module and the data files that it names; return this with the modules that it imports."""
    tree = _parse(str(file))
    further = (*_imports(tree), *_imported_by_name(tree, name, file))
    return {name: _digest(tree)} | _data_files(tree, name, file), further


def _own_part(tree: ast.Module, name: str) -> tuple[str, set[str]]:
    """Digest a definition with all it uses in its own file; return this with the modules that this part imports."""
    bindings: dict[str, set[str]] = {}
    definitions: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                bindings[(alias.asname or alias.name).split(".")[0]] = set(_imported_by(statement, alias))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            definitions[statement.name] = statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            definitions |= {node.id: statement for node in targets if isinstance(node, ast.Name)}
    used, pending, modules = set(), [name], set()
    while pending:
        current = pending.pop()
        modules |= bindings.get(current, set())
        if current in used or current not in definitions:
            continue
        used.add(current)
        statement = definitions[current]
        if isinstance(statement, ast.FunctionDef):
            statement.decorator_list = []  # how the orchestrator wraps a step does not change its answer
        pending += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
        modules |= set(_imports(statement))
    return _digest(*(definitions[key] for key in sorted(used))), modules


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield from _imported_by(node, alias)


def _imported_by(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield alias.name
        return
    module = node.module or ""
    yield module
    if module.split(".")[0] in PACKAGES and _module_file(f"{module}.{alias.name}"):
        yield f"{module}.{alias.name}"


def _imported_by_name(tree: ast.Module, module: str, file: Path) -> list[str]:
    """Name the modules beside one that imports modules by name: only the run knows which of them."""
    if "import_module" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
        return []
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return [f"{package}.{path.stem}" for path in sorted(file.parent.glob("*.py")) if path.stem != "__init__"]


def _data_files(tree: ast.Module, module: str, file: Path) -> dict[str, str]:
    """Digest the files beside a module that it names in a string, those of a folder included.

    Not what Python keeps of compiled modules: while one is being written it lies there under a passing name.
    """
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    named = [file.with_name(text) for text in texts if _FILE_NAME.fullmatch(text)]
    found = [path for path in named if path.exists()]
    files = [path for start in found for path in ([start] if start.is_file() else start.rglob("*"))]
    return {
        f"{module}:{path.relative_to(file.parent)}": hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in files
        if path.suffix != ".py" and "__pycache__" not in path.parts and path.is_file()
    }


def _does_not_count(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in NOT_COUNTED)


@functools.cache
def _module_file(name: str) -> Path | None:
    """Find the file of a project module, without importing its parents, which would import what they need."""
    package, *parts = name.split(".")
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        return None
    path = Path(folders[0], *parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file if file.is_file() and file.stat().st_size else None


def _parse(file: str) -> ast.Module:
    """Parse a file and drop its docstrings, and the titles and descriptions of form fields."""
    source = Path(file).read_text()
    with one_parses:
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("title", "description")]
    return tree


def _digest(*trees: ast.AST) -> str:
    return hashlib.sha256("\n".join(ast.dump(tree) for tree in trees).encode()).hexdigest()[:16]


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _versions(libraries: set[str]) -> dict[str, str]:
    names = {
        distribution
        for library in libraries - set(sys.stdlib_module_names)
        for distribution in _distributions().get(library, [])[:1]
    }
    return {name: _version(name) for name in sorted(names)}


@functools.cache  # each reads a file, and most steps use the same libraries
def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution)
