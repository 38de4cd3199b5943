"""The pictures are of running services only."""

import os
import subprocess
import sys

from tests.conftest import CHECKOUT


def test_without_services_there_is_one_sentence(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    command = [sys.executable, "-m", "deployments.screenshots", str(tmp_path / "pictures")]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=kept | {"OUTPUTS": str(tmp_path)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the services are not up: start them with `make up`")
    assert len(done.stderr.splitlines()) == 1
