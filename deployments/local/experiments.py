"""MLflow's experiments with their saved views, made before anybody opens its pages; prints where to look first."""

import os
import sys

from models.errors import InputError
from tasks.storage.locations import environment


def main() -> int:
    """Make the experiments and print the address of the leaderboard of classifiers.

    Returns:
        Exit code: 0, or 2 where the tracker cannot be used.
    """
    os.environ.update(environment())
    from tasks.tracking.runs import leaderboard_page  # imports what reads the environment

    try:
        sys.stdout.write(f"{leaderboard_page('classification')}\n")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
