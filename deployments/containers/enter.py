"""The entrance of a container: its environment, then its command.

A variable `NAME_FROM_FILE` names a file, a mounted secret for instance, and becomes `NAME` with what the file holds. So
no secret stands in the compose file, in the image or in what `docker inspect` shows. The settings that Prefect and
MLflow read (`locations.environment`) are added, since a worker imports Prefect before it imports a flow, and so
is the time between a run's signs of life, by which the server tells it from a dead one.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from models.errors import InputError
from tasks.storage.locations import environment

_SUFFIX = "_FROM_FILE"


def secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """Read the files that variables ending in `_FROM_FILE` name.

    Args:
        variables: an environment.

    Returns:
        The content of each file, without its last line break, by the variable's name without the suffix.

    Raises:
        InputError: if a file cannot be read or is empty; the message says which, and never what it holds.
    """
    found = {}
    for name, path in variables.items():
        if not name.endswith(_SUFFIX):
            continue
        try:
            content = Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise InputError(
                f"{name} names {path}, which cannot be read ({reason}): mount the secret there."
            ) from error
        if not content:
            raise InputError(f"{name} names {path}, which is empty: write the secret into it.")
        found[name.removesuffix(_SUFFIX)] = content
    return found


def main(command: list[str]) -> None:
    """Replace this process by a command that has the environment of the container.

    Args:
        command: program and arguments.
    """
    if not command:
        sys.stderr.write("error: usage: python -m deployments.containers.enter COMMAND [ARGUMENT ...]\n")
        raise SystemExit(2)
    try:
        os.environ.update(secrets(os.environ))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error
    os.environ.update(environment())
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"error: {command[0]} cannot be started ({error.strerror}): name a program of the image.\n")
        raise SystemExit(2) from error


if __name__ == "__main__":
    main(sys.argv[1:])
