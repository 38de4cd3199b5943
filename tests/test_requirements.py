"""What a run imports is in requirements.in; requirements-dev.in is not installed where runs are deployed."""

import ast
import importlib.metadata
import re

import pytest
import yaml

from tests.conftest import CHECKOUT

SHIPPED = ("flows", "tasks", "models", "deployments")


def _names(file):
    lines = (CHECKOUT / file).read_text().splitlines()
    return {_normal(found[0]) for line in lines if (found := re.match(r"[\w.-]+", line))}


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported():
    for package in SHIPPED:
        for file in (CHECKOUT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                yield from (name.split(".")[0] for name in names)


def test_nothing_that_ships_imports_what_only_checks_need():
    packages = importlib.metadata.packages_distributions()
    imported = {_normal(each) for name in set(_imported()) for each in packages.get(name, [])}
    assert imported - _names("requirements-dev.in") == imported
    assert imported >= {"prefect", "torch", "mlflow"}


@pytest.mark.parametrize(
    ("file", "lock"),
    [
        ("requirements.in", "requirements.txt"),
        ("requirements-dev.in", "requirements.txt"),
        ("requirements-gemma.in", "requirements-gemma.txt"),
    ],
)
def test_the_lock_holds_every_direct_dependency(file, lock):
    assert _names(file) <= _names(lock)


def test_what_a_real_gemma_needs_is_installed_without_changing_the_lock():
    """Where both name a package, they name the same version and the same files."""
    pinned = re.compile(r"^([\w.-]+==\S+)((?:.*\\\n)(?: +--hash=\S+(?: \\\n|\n))+)", re.MULTILINE)
    whole, extra = (
        {name: set(re.findall(r"sha256:\w+", rest)) for name, rest in pinned.findall((CHECKOUT / file).read_text())}
        for file in ("requirements.txt", "requirements-gemma.txt")
    )
    ours = {name.partition("==")[0] for name in whole}
    assert {name for name in extra if name.partition("==")[0] in ours} <= set(whole)
    assert all(extra[name] == whole[name] for name in set(extra) & set(whole))
    assert len(set(extra) & set(whole)) >= 5
    assert all(extra.values())


def test_the_image_is_made_of_the_lock_without_what_only_checks_need():
    text = (CHECKOUT / "deployments" / "containers" / "Dockerfile").read_text()
    assert "--requirements requirements.in --constraints requirements.txt" in text
    assert "requirements-dev" not in text


def test_hooks_run_what_make_lint_runs():
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipe = (CHECKOUT / "Makefile").read_text().split("\nlint: setup\n")[1].split("\n\n")[0]
    programs = {hook["entry"].split()[0].rpartition("/")[2] for hook in hooks}
    assert programs == set(re.findall(r"\$\(BIN\)/(\S+)", recipe)) | {"make"}
