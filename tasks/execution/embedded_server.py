"""The program of the embedded server: Prefect's own, which ends when the process that started it has ended.

Prefect stops its embedded server as Python ends, which a process that is killed does not come to. The server would
stay, with its memory and its hold on the database, for as long as the machine runs.

Prefect's own also answers any page that the person's browser has open and that finds its port: this one does not.

This file is started by its path: it imports nothing of the project, so that it listens before anything else can fail.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_GRACE_SECONDS = 5.0


def end_with_this_process() -> None:
    """Let the embedded server that this process starts from now on be this program, which ends with the process."""
    from prefect.server.api import server  # takes a second to load, where a server is embedded only

    server.SubprocessASGIServer._run_uvicorn_command = _start  # type: ignore[method-assign, assignment]


def _start(server: Any) -> "subprocess.Popen[Any]":
    """Start the server as `SubprocessASGIServer._run_uvicorn_command` does, with a pipe that this process holds."""
    from prefect.settings import get_current_settings

    own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return subprocess.Popen(
        [
            sys.executable, "-P", __file__, "--factory", "prefect.server.api.server:create_app",
            "--host", "127.0.0.1", "--port", str(server.port), "--log-level", "error", "--lifespan", "on",
        ],
        env={**os.environ, **own, **settings},
        stdin=subprocess.PIPE,
    )  # fmt: skip


def _end_with_parent() -> None:
    """Wait until nobody holds the other end of standard input, then end."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def main() -> None:
    """Serve until one is asked to end, or the parent has ended."""
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    from uvicorn import Config
    from uvicorn.main import main as serve

    own_pages_only, load = runpy.run_path(str(Path(__file__).with_name("own_pages.py")))["OwnPagesOnly"], Config.load

    def load_guarded(config: Config) -> None:
        load(config)
        config.loaded_app = own_pages_only(config.loaded_app)

    Config.load = load_guarded  # type: ignore[method-assign, assignment]
    serve(sys.argv[1:])


if __name__ == "__main__":
    main()
