"""The champion behind MLflow's scoring server: `.venv/bin/python -m deployments.local.serving --port 8000`.

It is `mlflow models serve`, with its options, behind guards. The tracker is that of the runs. What the server takes and
answers is in `deployments.local.scoring`. It has no login, so it listens on loopback only.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import InputError
from tasks.storage.locations import environment, outputs, tracking_uri

PROJECT = Path(__file__).resolve().parents[2]


def main(words: Sequence[str]) -> None:
    """Replace this process by the server.

    Args:
        words: options of `mlflow models serve`, such as `--host` and `--port`.
    """
    os.environ.update(environment())
    from tasks.storage.store import DamagedFileError, Store
    from tasks.tracking.registry import CHAMPION, read_package, registered_name, versions  # read the environment
    from tasks.tracking.runs import require_tracker

    name = registered_name("pneumoniamnist")
    try:
        require_tracker()
        champion = next((version for version in versions(name) if CHAMPION in version.aliases), None)
        if champion is None:
            raise InputError(f"No version of {name} is the champion: make one it with `python -m flows.champion`.")
        package = Store().get(read_package(champion))
    except (InputError, DamagedFileError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error
    model = write_served(package, outputs() / "services" / f"{name}-{champion.version}")
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri()
    os.environ["PYTHONPATH"] = f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "deployments.local.guarded_mlflow", "models", "serve", "--model-uri", str(model)]
    os.execv(sys.executable, [*command, "--env-manager", "local", *words])


def write_served(package: bytes, folder: Path) -> Path:
    """Write the model that MLflow serves: weights and card, without the graph that is registered beside them.

    To load that graph, PyTorch unpickles parts of it, so that whoever may write to the tracker's files could let this
    server run anything (`torch.export.load`, PyTorch 2.11 to 2.15).

    Args:
        package: the registered classifier.
        folder: where it is written.

    Returns:
        The folder.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    from deployments.local.scoring import PACKAGE

    folder.mkdir(parents=True, exist_ok=True)
    (folder / PACKAGE).write_bytes(package)
    described = Model()
    pyfunc.add_to_model(described, loader_module="deployments.local.scoring", data=PACKAGE)
    described.save(str(folder / "MLmodel"))
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
