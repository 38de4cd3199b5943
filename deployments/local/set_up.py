"""All that the servers are told of this project: pools, limits, deployments, automations, a start page; MLflow's views.

`make up` tells it; by hand, on the server of `PREFECT_API_URL`: `python -m deployments.local.services register`, and
with `--reset` all is as the files have it. One process does it all, since to start one takes longer than its work.
"""

import os
import sys

from deployments.automations import definitions
from deployments.local import registration
from deployments.local.resources import make_resources
from models.errors import InputError
from tasks.execution.artifacts import write_overview
from tasks.tracking import runs

_NOTHING_YET = "# Overview\n\nNothing has run yet: *Deployments → pipeline-quickstart → Run*.\n"


def main(*arguments: str) -> int:
    """Tell the server, and print what people should know.

    Args:
        arguments: `--reset` takes what the files say, whatever people changed.

    Returns:
        Exit code: 0 once all is registered, 2 where a file or a variable is wrong.
    """
    reset = registration.RESET in arguments
    try:
        make_resources()
        for register in (registration.register, definitions.register):
            for sentence in register(reset=reset):
                sys.stdout.write(f"{sentence}\n")
        write_overview(_NOTHING_YET, anew=False)
        if "MLFLOW_TRACKING_URI" in os.environ:
            runs.prepare()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
