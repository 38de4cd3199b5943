"""Serve the page: `python -m deployments.page`, as `make up` and the compose file do.

Prefect and MLflow are those of the environment. Requests are not logged, since a name of a file may be a person's.
"""

import os
import sys

from deployments.page.settings import page_settings
from models.errors import InputError
from tasks.storage.locations import environment, outputs


def main() -> int:
    """Serve until the process is told to end.

    Returns:
        Exit code: 2 where a setting is wrong.
    """
    try:
        settings = page_settings()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    os.environ.update(environment())
    import uvicorn

    from deployments.guards.slow_clients import PROTOCOL
    from deployments.page.application import application  # imports what reads the environment

    uvicorn.run(
        application(settings, outputs()),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        limit_concurrency=100,
        http=PROTOCOL,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
