"""A PostgreSQL server of Debian's package in a temporary folder, with the databases of the containers."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import CHECKOUT
from tests.e2e.services import wait_for
from tests.support.ports import free_port


@contextlib.contextmanager
def room_for_postgres(secrets: Mapping[str, str]) -> Iterator[Path]:
    """Make a folder that PostgreSQL's own user gets through to, as it does not to pytest's.

    Args:
        secrets: content by name of the files in its folder `secrets/`.
    """
    with tempfile.TemporaryDirectory(prefix="pneumonia-postgres-") as name:
        room = Path(name)
        room.chmod(0o755)
        (room / "secrets").mkdir()
        for secret, content in secrets.items():
            (room / "secrets" / secret).write_text(f"{content}\n")
        yield room


@contextlib.contextmanager
def postgres(room: Path) -> Iterator[SimpleNamespace]:
    """Start the server; it logs to `postgres.log` in the room.

    Args:
        room: a folder that others may read, with the databases' passwords in `secrets/`.

    Yields:
        Its `port`; `query`, which asks a database by SQL; `restart`, which stops it and starts it again some seconds
        later; and the `variables` by which its programs find it.
    """
    account, port = _account(), free_port()
    data = room / "postgres"
    data.mkdir()
    if account:
        os.chown(data, account["user"], account["group"])
    as_postgres = {"cwd": data, **account}
    cluster = data / "cluster"
    initdb = [_program("initdb"), "--pgdata", cluster, "--username", "postgres", "--auth-local", "trust"]
    subprocess.run([*initdb, "--auth-host", "scram-sha-256"], check=True, capture_output=True, **as_postgres)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
    command = [_program("postgres"), "-D", cluster, "-p", str(port), *options]

    def start():
        with (room / "postgres.log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, **as_postgres)

    server = start()
    socket_options = ["--host", data, "--port", str(port), "--username", "postgres"]
    psql = [_program("psql"), *socket_options, "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--tuples-only"]
    ready = [_program("pg_isready"), *socket_options, "--quiet"]

    def query(database, sql):
        done = subprocess.run(
            [*psql, "--dbname", database, "--command", sql], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def restart(seconds_away):
        nonlocal server
        server.send_signal(signal.SIGINT)  # as systems stop it: at once, whoever is connected
        server.wait(timeout=120)
        time.sleep(seconds_away)
        server = start()
        wait_for(lambda: subprocess.run(ready).returncode == 0)

    try:
        wait_for(lambda: subprocess.run(ready).returncode == 0)
        file = CHECKOUT / "deployments" / "containers" / "databases.sql"
        environment = os.environ | {"SECRETS": str(room / "secrets")}
        subprocess.run([*psql, "--file", file], check=True, capture_output=True, env=environment)
        programs = f"{Path(_program('initdb')).parent}:{os.environ['PATH']}"
        variables = {"PATH": programs, "PGHOST": str(data), "PGPORT": str(port)}
        yield SimpleNamespace(port=port, query=query, restart=restart, variables=variables)
    finally:
        server.terminate()
        server.wait(timeout=120)


def _program(name):
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install postgresql")
    return found


def _account():
    """Of whom PostgreSQL runs: it refuses root."""
    if os.geteuid():
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
