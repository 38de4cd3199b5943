"""Files that run code when they are unpickled, each for another way of reading them: a marker appears."""

import io
import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from tests.tasks.hostile_results import HOSTILE, hostile_result


class _Touch:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def _torch(touch: _Touch, new: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": touch}, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


def _arrays(touch: _Touch) -> bytes:
    file, array = io.BytesIO(), np.empty(2, dtype=object)
    array[:] = touch
    np.savez(file, **{f"{split}_{part}": array for split in ("train", "val", "test") for part in ("images", "labels")})
    return file.getvalue()


def _archive(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("archive/data.pkl", "data.pkl", "python_model.pkl"):
            archive.writestr(name, content)
    return file.getvalue()


def poisoned(marker: Path) -> dict[str, bytes]:
    """Write the files.

    Args:
        marker: what appears if one is believed.

    Returns:
        Their contents by what they are.
    """
    touch = _Touch(marker)
    plain = pickle.dumps(touch)
    command = f"touch '{marker}'"
    files = {
        "pickle": plain,
        "pickle of text": pickle.dumps(touch, protocol=0),
        "pickle, compressed": zlib.compress(plain),
        "archive": _archive(plain),
        "arrays": _arrays(touch),
        "PyTorch": _torch(touch, new=True),
        "PyTorch before 1.6": _torch(touch, new=False),
        "YAML": f'!!python/object/apply:os.system ["{command}"]'.encode(),
        "YAML in a field": f'name: concise\nuser: !!python/object/apply:os.system ["{command}"]\n'.encode(),
        "jsonpickle": json.dumps({"py/reduce": [{"py/function": "posix.system"}, {"py/tuple": [command]}]}).encode(),
        "Python": f"__import__('os').system({command!r})".encode(),
    }
    return files | {f"result: {attack}": hostile_result(attack, marker) for attack in HOSTILE}


READ: dict[str, Callable[[bytes], object]] = {
    "pickle": pickle.loads,
    "pickle of text": pickle.loads,
    "pickle, compressed": lambda content: pickle.loads(zlib.decompress(content)),  # noqa: S301 - its own bytes
    "arrays": lambda content: dict(np.load(io.BytesIO(content), allow_pickle=True)),
    "PyTorch": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "PyTorch before 1.6": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "YAML": yaml.unsafe_load,
    "YAML in a field": yaml.unsafe_load,
    "Python": eval,
}
"""How a trusting reader reads it."""


def poisoned_graph(marker: Path) -> bytes:
    """Write an exported graph (pt2) that runs code when PyTorch loads it.

    Args:
        marker: what appears if it is loaded.
    """
    graph = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), graph)
    touch, written = io.BytesIO(), io.BytesIO()
    torch.save(_Touch(marker), touch)
    with zipfile.ZipFile(graph) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            new.writestr(name, touch.getvalue() if "sample_inputs" in name else old.read(name))
    return written.getvalue()
