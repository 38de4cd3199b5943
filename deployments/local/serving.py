"""The champion behind MLflow's scoring server: `.venv/bin/python -m deployments.local.serving --port 8000`.

It is `mlflow models serve`, with its options, for an environment that need not be activated: MLflow calls `uvicorn` by
its name, which is on the PATH of an activated environment only. The tracker is that of the runs. What the server takes
and answers is in `deployments.local.scoring`.
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
    from tasks.tracking.registry import CHAMPION, registered_name, versions  # imports what reads the environment
    from tasks.tracking.runs import require_tracker

    name = registered_name("pneumoniamnist")
    try:
        require_tracker()
        champion = next((version for version in versions(name) if CHAMPION in version.aliases), None)
        if champion is None:
            raise InputError(f"No version of {name} is the champion: make one it with `python -m flows.champion`.")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error
    model = _written(f"models:/{name}/{champion.version}", outputs() / "services" / f"{name}-{champion.version}")
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.environ["PYTHONPATH"] = f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model)]
    os.execv(sys.executable, [*command, "--env-manager", "local", *words])


def _written(uri: str, folder: Path) -> Path:
    """Write the model that asks the one at a URI, as MLflow serves it."""
    from mlflow import pyfunc
    from mlflow.models import Model

    from deployments.local.scoring import SOURCE

    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE).write_text(uri, encoding="utf-8")
    described = Model()
    pyfunc.add_to_model(described, loader_module="deployments.local.scoring", data=SOURCE)
    described.save(str(folder / "MLmodel"))
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
