"""What MedMNIST publishes of its sets, without the package, which imports PyTorch and scikit-learn."""

import functools
import importlib.util
import runpy
from pathlib import Path
from typing import Any


@functools.cache
def published_sets() -> dict[str, dict[str, Any]]:
    """Read `medmnist.INFO` where it stands.

    Returns:
        What is published, by the name of the set.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    package = importlib.util.find_spec("medmnist")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("medmnist is not installed", name="medmnist")
    found: dict[str, dict[str, Any]] = runpy.run_path(str(Path(package.origin).with_name("info.py")))["INFO"]
    return found
