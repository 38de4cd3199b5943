"""The champion behind MLflow's scoring server: `python -m deployments.local.serving --port 8000`, `mlflow`'s options.

It is `mlflow models serve` for an environment that need not be activated: MLflow calls `uvicorn` by its name, which is
on the PATH of an activated environment only. The tracker is that of the runs.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import InputError
from tasks.storage.locations import environment, tracking_uri


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
        if not any(CHAMPION in version.aliases for version in versions(name)):
            raise InputError(f"No version of {name} is the champion: make one it with `python -m flows.champion`.")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{name}@{CHAMPION}"]
    os.execv(sys.executable, [*command, "--env-manager", "local", *words])


if __name__ == "__main__":
    main(sys.argv[1:])
