"""What a person triggers.

Importing this package sets the environment that Prefect and MLflow read when they are imported, where the user has not.
"""

import os
import sys

from tasks.locations import environment, outputs

try:
    outputs().joinpath("prefect").mkdir(parents=True, exist_ok=True)  # Prefect warns of a home that it has to make
except OSError as error:
    sys.stderr.write(
        f"error: {outputs()} cannot hold the products ({error.strerror}): name another with OUTPUTS=dir.\n"
    )
    raise SystemExit(2) from error
os.environ.update(environment())
