"""Nothing is unpickled, no code comes with a file, and what is downloaded is pinned: read from the code itself."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import medmnist
import pytest
from torchvision.models import EfficientNet_B0_Weights, ResNet18_Weights

from models.choices import PUBLISHED_ENCODERS
from models.encoders.loading import published_class
from tests.conftest import CHECKOUT

FOLDERS = ("flows", "tasks", "models", "deployments", "docs", "tests")
MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle", "pickletools",
    "hickle", "klepto",
}  # fmt: skip
CALLS = {
    "read_pickle", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all", "load_module",
    "load_learner", "read_hdf",
}  # fmt: skip
"""Functions that run what a file holds, by their last name."""
REASONS = {
    "flows/support/processes.py": "a call goes to a process of its own through a pipe, whose other end this one holds",
    "tests/tasks/hostile_results.py": "writes the poisoned results that must not be read",
    "tests/hostile/poison.py": "writes the poisoned files that must not be read",
    "tests/models/classifier/test_weights.py": "writes a poisoned file",
    "tests/tasks/execution/test_caching.py": "asks whether a step can be sent to Dask, of its own bytes",
    "tests/models/classifier/test_onnx_graph.py": "runs the code that a page shows",
    "tests/mutants/trial.py": "runs this project's own modules with a fault in them",
    "tests/support/model_cards.py": "runs the code that a model card shows",
}
"""Files that use one of them, and why they may."""
_SUSPECT = re.compile(r"pickle|load|eval|exec|weights_only|trust_remote|shelve|marshal|dill|read_hdf")


def files() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py"))


def misuses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find what runs code of a file, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, found) for found in _calls(node))


def _calls(node: ast.Call) -> Iterator[str]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    told = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in CALLS or (not owner and name in ("eval", "exec")):
        yield name
    if owner == "torch" and name == "load" and not _is(told.get("weights_only"), True):
        yield "torch.load without weights_only"
    if "weights_only" in told and not _is(told["weights_only"], True):
        yield "weights_only"
    if "allow_pickle" in told and not _is(told["allow_pickle"], False):
        yield "allow_pickle"
    if "trust_remote_code" in told and not _is(told["trust_remote_code"], False):
        yield "trust_remote_code"
    if owner == "yaml" and name in ("load", "load_all"):
        yield "yaml.load"


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_is_unpickled_but_for_the_reasons_that_are_named():
    found: dict[str, list[str]] = {}
    for path in files():
        text = path.read_text()
        for line, what in misuses(ast.parse(text)) if _SUSPECT.search(text) else ():
            found.setdefault(path.relative_to(CHECKOUT).as_posix(), []).append(f"line {line}: {what}")
    assert {name: uses for name, uses in found.items() if name not in REASONS} == {}
    assert set(REASONS) <= set(found), "a reason is left over"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from joblib import load", "import cloudpickle.compat", "torch.load(path)",
        "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)", "pandas.read_pickle(path)",
        "yaml.load(text, Loader=yaml.Loader)", "yaml.unsafe_load(text)", "eval(text)", "exec(text)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)", "np.load(path, allow_pickle=chosen)",
    ],
)  # fmt: skip
def test_each_kind_is_found(code):
    assert list(misuses(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "model.eval()",
        "yaml.safe_load(text)",
    ],
)
def test_what_is_safe_is_not(code):
    assert not list(misuses(ast.parse(code)))


DOWNLOADS: dict[str, Callable[[dict[str | None, ast.expr]], bool]] = {
    "from_pretrained": lambda told: _is(told.get("local_files_only"), True),
    "snapshot_download": lambda told: "revision" in told,
    "download_url_to_file": lambda told: "hash_prefix" in told,
    "urlretrieve": lambda told: False,
    "hf_hub_download": lambda told: False,
    "load_state_dict_from_url": lambda told: False,
    "create_model_and_transforms": lambda told: False,
}
"""What libraries download by, and whether a call of it is pinned or asks nobody."""


def test_every_download_is_pinned_in_the_code():
    found, loose = set(), []
    for path in files():
        if path.relative_to(CHECKOUT).parts[0] not in ("flows", "tasks", "models", "deployments"):
            continue
        text = path.read_text()
        if not any(name in text for name in DOWNLOADS):
            continue
        for node in ast.walk(ast.parse(text)):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if name in DOWNLOADS and isinstance(node, ast.Call):
                found.add(name)
                if not DOWNLOADS[name]({keyword.arg: keyword.value for keyword in node.keywords}):
                    loose.append(f"{path}:{node.lineno}: {name}")
    assert loose == []
    assert found == {"from_pretrained", "snapshot_download", "download_url_to_file"}


def test_what_is_fetched_without_being_asked_for_comes_over_https_by_digest_or_commit():
    for name in PUBLISHED_ENCODERS:
        assert re.fullmatch(r"[0-9a-f]{40}", published_class(name).revision), name
    for weights in (ResNet18_Weights.IMAGENET1K_V1, EfficientNet_B0_Weights.IMAGENET1K_V1):
        assert re.fullmatch(r"https://\S+-[0-9a-f]{8}\.pth", weights.url)
    for name, about in medmnist.INFO.items():
        assert about["url"].startswith("https://"), name
        assert re.fullmatch(r"[0-9a-f]{32}", about["MD5"]), name
