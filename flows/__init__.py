"""What a person triggers.

Importing this package sets the environment that Prefect and MLflow read when they are imported, where the user has not.
"""

import os

from tasks.locations import environment, outputs

os.environ.update(environment())

outputs().joinpath("prefect").mkdir(parents=True, exist_ok=True)  # Prefect warns of a home that it has to make
