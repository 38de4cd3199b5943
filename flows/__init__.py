"""What a person triggers.

Importing this package sets the environment that Prefect and MLflow read when they are imported, where the user has not.
"""

import contextlib
import io
import os
import sys

from pydantic import ValidationError
from pydantic_settings import SettingsError

from models.errors import InputError
from models.operating_system import require_unix
from models.text import printable
from tasks.storage.locations import environment, outputs

try:
    require_unix()
except InputError as error:
    sys.stderr.write(f"error: {error}\n")
    raise SystemExit(2) from error
try:
    outputs().joinpath("prefect").mkdir(parents=True, exist_ok=True)  # Prefect warns of a home that it has to make
except OSError as error:
    sys.stderr.write(
        f"error: {outputs()} cannot hold the products ({error.strerror}): name another with OUTPUTS=dir.\n"
    )
    raise SystemExit(2) from error
os.environ.update(environment())
try:
    with contextlib.redirect_stderr(io.StringIO()):  # where Prefect's import says the same in several lines
        from prefect.settings import get_current_settings
    get_current_settings()  # with what the user has set in files of the working folder
except (ValidationError, SettingsError) as error:
    told = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        told = f"{error.title}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    sys.stderr.write(
        f"error: a setting of Prefect is wrong ({printable(told, 180)}): mend it in the environment, .env, "
        "prefect.toml or pyproject.toml.\n"
    )
    raise SystemExit(2) from error
