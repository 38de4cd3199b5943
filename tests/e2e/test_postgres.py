"""The topology of the compose file with real processes: its commands and variables, without containers.

PostgreSQL, both servers with their logins, the set-up, and two workers with homes and checkouts of their own that share
one folder of products.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tests.conftest import CHECKOUT
from tests.deployments.containers import compose
from tests.e2e.network import ask, require_bounded, require_no_way_out, require_own_pages_only
from tests.e2e.postgres import postgres as temporary_postgres
from tests.e2e.postgres import room_for_postgres
from tests.e2e.services import PATIENCE_SECONDS, require_no_jobs
from tests.support import canary
from tests.support.ports import free_port
from tests.support.smallest import SMALLEST

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),  # four services start, and all count for the first test
    pytest.mark.expected_in_logs("a wrong password"),
]
PASSWORDS = {
    "postgres_password": "of-the-superuser",
    "prefect_database_password": "of-prefect",
    "mlflow_database_password": "of-mlflow",
    "prefect_auth_string": "team:of-the-prefect-api",
    "mlflow_password": "of-the-mlflow-admin",
    "mlflow_flask_key": "of-the-forms",
    "hugging_face_token": "of-the-weights",
    "alerts_webhook": "none",
}
EXPECTED_IN_LOGS = (
    "PostgreSQL starts", "a metric was logged already", "a task run was recorded already", "a worker was cut off"
)  # fmt: skip
EPOCHS = 30
AWAY_SECONDS = 8
MLFLOW_WAYS = (
    "POST /api/2.0/mlflow/runs/search", "POST /ajax-api/2.0/mlflow/runs/search", "GET /get-artifact?run_uuid=x&path=a",
    "PUT /api/2.0/mlflow-artifacts/artifacts/a", "GET /api/2.0/mlflow-artifacts/artifacts/a",
    "DELETE /ajax-api/2.0/mlflow-artifacts/artifacts/a", "POST /ajax-api/2.0/mlflow/upload-artifact?run_uuid=x&path=a",
    "POST /graphql", "GET /model-versions/get-artifact?name=a&version=1&path=a", "POST /api/3.0/mlflow/traces/search",
    "POST /v1/traces", "GET /ajax-api/2.0/mlflow/get-trace-artifact?request_id=x", "POST /api/2.0/mlflow/users/create",
)  # fmt: skip


@pytest.fixture(scope="module")
def room(server_logs):
    with room_for_postgres(PASSWORDS) as folder:
        yield folder
        server_logs.check()


@pytest.fixture(scope="module")
def postgres(room, server_logs):
    server_logs.watch(room, *EXPECTED_IN_LOGS)
    with temporary_postgres(room) as server:
        yield server


class Machines:
    """Starts services of the compose file as processes, each on a "machine": a folder with a home and a checkout."""

    def __init__(self, room, postgres, data):
        self.room, self.data = room, data
        self.ports = {"prefect": free_port(), "mlflow": free_port()}
        self.running = {}
        self.postgres = postgres
        public = {"PREFECT_PORT": str(self.ports["prefect"]), "MLFLOW_PORT": str(self.ports["mlflow"])}
        self.services = compose.read(public)["services"]
        self.prefect_api = f"http://127.0.0.1:{self.ports['prefect']}/api"
        self.mlflow = f"http://127.0.0.1:{self.ports['mlflow']}"
        self.outputs = room / "outputs"

    def start(self, service, machine):
        """Start a service, with the names and folders of the containers replaced by those of this machine."""
        home = self.room / machine
        checkout = home / "checkout"
        if not checkout.exists():
            (home / "home").mkdir(parents=True)
            for folder in ("flows", "tasks", "models", "deployments"):
                shutil.copytree(CHECKOUT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(CHECKOUT / "prefect.yaml", checkout)
        health_port = str(free_port())
        places = {
            "http://prefect:4200": self.prefect_api.removesuffix("/api"),
            "http://mlflow:5000": self.mlflow,
            "@postgres:5432": f"@127.0.0.1:{self.postgres.port}",
            "/run/secrets": str(self.room / "secrets"),
            "/home/pneumonia": str(home / "home"),
            "/outputs": str(self.outputs),
            "/artifacts": str(self.room / "artifacts"),
            "/data": str(self.data),
            "/app": str(checkout),
        }
        declared = self.services[service]
        variables = {}
        for name, value in declared["environment"].items():
            for place, here in places.items():
                value = value.replace(place, here) if value.startswith(place) or place.startswith("@") else value
            variables[name] = value
        if "PGHOST" in variables:
            variables |= {"PGHOST": "127.0.0.1", "PGPORT": str(self.postgres.port)}
        command = list(declared["command"])
        if service in self.ports:
            command[command.index("--host") + 1] = "127.0.0.1"
            command[command.index("--port") + 1] = str(self.ports[service])
            variables["PREFECT_SERVER_API_PORT"] = str(self.ports[service])
        kept = ("LANG", "OMP_NUM_THREADS")
        plain = {name: os.environ[name] for name in kept if name in os.environ}
        plain |= {"HOME": str(home / "home"), "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}
        plain |= {"PREFECT_WORKER_WEBSERVER_PORT": health_port, "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1"}
        with self.log(service).open("w") as log:
            self.running[service] = subprocess.Popen(
                [sys.executable, "-m", "deployments.containers.enter", *command],
                cwd=checkout,
                env=plain | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return health_port

    def stop(self, *services):
        """End services as a container engine does, the workers first, so that they can tell the server."""
        for service in services:
            process = self.running.pop(service)
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            for member in [*family, process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(family, timeout=10)

    def log(self, service):
        return self.room / f"{service}.log"

    def wait_for(self, *addresses):
        for address in addresses:
            try:
                _until(lambda address=address: _status(address) == 200, self.running.values())
            except AssertionError as error:
                raise AssertionError(f"{address}: {self.tails()}") from error

    def tails(self):
        return {name: self.log(name).read_text()[-1500:] for name in self.running}

    def end(self):
        self.stop(*reversed(self.running))


def _until(condition, processes, seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        assert all(process.poll() is None for process in processes), "a process has ended"
        time.sleep(0.3)


def _status(address, login=None):
    request = urllib.request.Request(address)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


@pytest.fixture(scope="module")
def machines(room, postgres, official_file):
    here = Machines(room, postgres, official_file.parent)
    try:
        here.start("prefect", "machine-0")
        here.start("mlflow", "machine-0")
        here.wait_for(f"{here.prefect_api}/health", f"{here.mlflow}/health")
        here.start("set-up", "machine-0")
        set_up = here.running["set-up"]
        assert set_up.wait(timeout=PATIENCE_SECONDS) == 0, here.log("set-up").read_text()
        del here.running["set-up"]
        health = [here.start("cpu-worker", "machine-1"), here.start("gpu-worker", "machine-2")]
        here.wait_for(*(f"http://127.0.0.1:{port}/health" for port in health))
        yield here
    finally:
        here.end()


@pytest.fixture(scope="module")
def pair(machines):
    """The same pipeline run on each machine, and what each run says of itself in outputs/summary.json."""
    settings = {PREFECT_API_URL: machines.prefect_api, PREFECT_API_AUTH_STRING: PASSWORDS["prefect_auth_string"]}
    runs, summaries = [], []
    with temporary_settings(settings):
        for pool in ("cpu", "gpu"):
            with SyncPrefectClient(machines.prefect_api, auth_string=PASSWORDS["prefect_auth_string"]) as client:
                deployment = client.read_deployment_by_name("pipeline/pipeline")
                client.update_deployment(deployment.id, DeploymentUpdate(work_pool_name=pool))
            run = run_deployment(
                "pipeline/pipeline", parameters=SMALLEST, timeout=2 * PATIENCE_SECONDS, poll_interval=1
            )
            assert run.state.is_completed(), (run.state, machines.tails())
            runs.append(run)
            summaries.append(json.loads((machines.outputs / "summary.json").read_text()))
    return SimpleNamespace(runs=runs, summaries=summaries)


def test_each_machine_did_one_run(machines, pair):
    first, second = (str(run.id) for run in pair.runs)
    on_cpu, on_gpu = (machines.log(service).read_text() for service in ("cpu-worker", "gpu-worker"))
    assert first in on_cpu and second not in on_cpu
    assert second in on_gpu and first not in on_gpu
    assert [summary["flow_run_id"] for summary in pair.summaries] == [first, second]


def test_what_one_machine_computed_the_other_used(machines, pair):
    first, second = pair.summaries
    assert first["tasks"]["executed"] > 5
    assert second["tasks"]["executed"] == 0
    assert second["tasks"]["cached"] == first["tasks"]["executed"] + first["tasks"]["cached"]
    assert second["classification"]["metrics"] == first["classification"]["metrics"]


def test_both_servers_keep_their_state_in_postgres(machines, postgres, pair):
    flow_runs = ", ".join(f"'{run.id}'" for run in pair.runs)
    assert postgres.query("prefect", f"SELECT count(*) FROM flow_run WHERE id IN ({flow_runs})") == "2"
    assert postgres.query("mlflow", "SELECT count(*) FROM runs WHERE status = 'FINISHED'") == "8"
    assert postgres.query("mlflow", "SELECT count(*) FROM runs WHERE status <> 'FINISHED'") == "0"
    assert not list(machines.room.rglob("*mlflow.db")), "a tracking database beside PostgreSQL"
    assert not list(machines.room.rglob("prefect.db")), "a Prefect database beside PostgreSQL"


def test_artifacts_went_through_the_server(machines, pair):
    assert list((machines.room / "artifacts" / "pneumonia").rglob("grad_cam.png"))
    assert not (machines.outputs / "mlartifacts").exists()


def test_prefect_asks_for_its_auth_string(machines):
    address = f"{machines.prefect_api}/admin/version"
    assert _status(address) == 401
    assert _status(address, "team:wrong") == 401
    assert _status(address, PASSWORDS["prefect_auth_string"]) == 200


def test_the_databases_ask_for_their_passwords(postgres):
    import psycopg2

    where = {"host": "127.0.0.1", "port": postgres.port, "dbname": "mlflow", "user": "mlflow"}
    psycopg2.connect(**where, password=PASSWORDS["mlflow_database_password"]).close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(**where, password="wrong")


def test_mlflow_asks_for_its_login(machines):
    address = f"{machines.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    assert _status(address) == 401
    assert _status(address, "admin:wrong") == 401
    assert _status(address, f"admin:{PASSWORDS['mlflow_password']}") == 200


def test_prefect_shows_its_pages_out_of_a_folder_of_its_own(machines):
    """In a container its packages cannot be written, where it would unpack them."""
    assert _status(f"{machines.prefect_api.removesuffix('/api')}/v2/") == 200
    assert (machines.room / "machine-0" / "home" / "prefect" / "pages" / "v2" / "index.html").is_file()


def test_mlflow_runs_no_jobs(machines):
    require_no_jobs(machines.running["mlflow"].pid)


@pytest.mark.parametrize("way", MLFLOW_WAYS)
def test_mlflow_answers_and_takes_nothing_without_its_login(machines, way):
    method, path = way.split()
    for login in (None, "admin:wrong", "nobody:", f"admin:{PASSWORDS['prefect_auth_string']}"):
        status, said = ask(machines.mlflow, path, method, b"{}", _basic(login) | {"Content-Type": "application/json"})
        assert status == 401, (login, said)


def test_with_logins_too_pages_of_other_sites_and_large_bodies_are_refused(machines, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("what no answer holds")
    admin = _basic(f"admin:{PASSWORDS['mlflow_password']}")
    require_own_pages_only(machines.mlflow, "/api/2.0/mlflow/experiments/search?max_results=1", admin)
    require_bounded(machines.mlflow, "/api/2.0/mlflow/runs/search", headers=admin)
    require_no_way_out(machines.mlflow, ["/api/2.0/mlflow-artifacts/artifacts/", "/static-files/"], secret, admin)
    prefect = machines.prefect_api.removesuffix("/api")
    team = _basic(PASSWORDS["prefect_auth_string"])
    require_own_pages_only(prefect, "/api/admin/version", team)
    require_bounded(prefect, "/api/flow_runs/filter", headers=team)
    for path in ("/api/flow_runs/filter", "/api/block_documents/filter", "/api/deployments/filter", "/api/logs/"):
        assert ask(prefect, path, "POST", b"{}", _basic("team:wrong"))[0] == 401
    assert not list(machines.room.rglob("checkout/mlartifacts"))


def _basic(login):
    return {} if login is None else {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def test_no_password_is_in_a_file_or_a_list_of_processes(machines, postgres, pair):
    secrets = [secret for secret in PASSWORDS.values() if secret != "none"]
    places = [machines.outputs, machines.room / "artifacts", *machines.room.glob("machine-*")]
    assert canary.holding(places, secrets) == []
    for log in machines.room.glob("*.log"):
        assert not [secret for secret in secrets if secret in log.read_text(errors="replace")], log
    for name in ("prefect", "mlflow"):
        assert postgres.query(name, HOLDING.format(word="pneumonia"))
        assert [postgres.query(name, HOLDING.format(word=secret)) for secret in secrets] == [""] * len(secrets)
    started = [psutil.Process(service.pid) for service in machines.running.values()]
    for process in (*started, *(child for each in started for child in each.children(recursive=True))):
        with contextlib.suppress(psutil.NoSuchProcess):
            assert not [secret for secret in secrets if secret in " ".join(process.cmdline())], process


def test_a_run_goes_on_while_postgres_is_restarted(machines, postgres, pair, server_logs):
    training = SMALLEST["training"] | {"epochs": EPOCHS, "seed": 1}
    form = {"dataset": SMALLEST["dataset"], "training": training, "evaluation": SMALLEST["evaluation"]}
    settings = {PREFECT_API_URL: machines.prefect_api, PREFECT_API_AUTH_STRING: PASSWORDS["prefect_auth_string"]}
    curve = (
        "SELECT step FROM metrics m JOIN params p ON p.run_uuid = m.run_uuid AND p.key = 'training.seed' "
        "WHERE p.value = '1' AND m.key = 'train/loss' ORDER BY step"
    )
    with temporary_settings(settings):
        run = run_deployment("classification/classification", parameters=form, timeout=0)
        _until(lambda: postgres.query("mlflow", curve), machines.running.values())
        server_logs.watch(machines.room, *EXPECTED_IN_LOGS, "PostgreSQL was away")
        postgres.restart(AWAY_SECONDS)
        with SyncPrefectClient(machines.prefect_api, auth_string=PASSWORDS["prefect_auth_string"]) as client:
            _until(lambda: _is_final(client, run.id), machines.running.values())
            state = client.read_flow_run(run.id).state
    assert state.is_completed(), (state, machines.tails())
    assert [int(step) for step in postgres.query("mlflow", curve).split()] == list(range(1, EPOCHS + 1))
    assert postgres.query("mlflow", "SELECT count(*) FROM runs WHERE status <> 'FINISHED'") == "0"
    assert postgres.query("prefect", "SELECT count(*) FROM task_run WHERE state_type <> 'COMPLETED'") == "0"
    server_logs.check()
    server_logs.watch(machines.room, *EXPECTED_IN_LOGS)


def _is_final(client, run_id):
    try:
        return client.read_flow_run(run_id).state.is_final()
    except PrefectHTTPStatusError as error:  # PostgreSQL has just come back
        assert error.response.status_code in (500, 503)
        return False


ENGINE = """
docker() {  # compose --file FILE exec --no-TTY SERVICE COMMAND ..., with the folders of containers in ROOM
  if test "$4" = exec; then shift 6; "${@/=\\//=$ROOM/}"; fi
}
lose() {
  rm --recursive "$ROOM/artifacts"/* "$ROOM/outputs"/*
  for name in prefect mlflow; do
    psql --username=postgres --quiet --command="DROP DATABASE $name" --command="CREATE DATABASE $name OWNER $name"
  done
}
"""
HOLDING = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND query_to_xml(
  format('SELECT 1 AS found FROM %I t WHERE strpos(t::text, %L) > 0 LIMIT 1', tablename, '{word}'), false, false, ''
)::text LIKE '%<found>%'
"""
ROWS = """
SELECT tablename, tableowner, query_to_xml(
  format('SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM %I t', tablename), true, true, '')
FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename
"""


def test_what_is_lost_comes_back_from_the_backup_of_the_guide(machines, postgres, pair, tmp_path):
    section = (CHECKOUT / "docs" / "operations.md").read_text().partition("## Backup")[2].partition("\n## ")[0]
    backup, restore = (block for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL) if "$compose" in block)
    machines.stop("cpu-worker", "gpu-worker", "prefect", "mlflow")
    before = _kept(machines, postgres)
    subprocess.run(
        ["bash", "-o", "errexit", "-o", "pipefail", "-c", f"{ENGINE}{backup}lose\n{restore}"],
        cwd=tmp_path,
        env=os.environ | postgres.variables | {"ROOM": str(machines.room)},
        check=True,
    )
    assert _kept(machines, postgres) == before


def test_both_databases_come_back_from_a_backup_of_all_into_empty_ones(machines, postgres, pair, tmp_path):
    """Outside containers; with the password in no argument of a program."""
    archive, place = tmp_path / "backup.zip", tmp_path / "another place"
    names = {"prefect": "prefect", "mlflow": "mlflow"}
    _back_up(postgres, machines.outputs, names, "backup", str(archive))
    for name in names:
        postgres.query("postgres", f"CREATE DATABASE restored_{name} OWNER {name}")
    into = {name: f"restored_{name}" for name in names}
    refused = _back_up(postgres, place, names, "restore", str(archive), code=2)
    assert "holds tables already, and nothing is overwritten" in refused
    assert not place.exists()
    _back_up(postgres, place, into, "restore", str(archive))
    for name in names:
        assert postgres.query(f"restored_{name}", ROWS) == postgres.query(name, ROWS)
    assert (place / "summary.json").read_bytes() == (machines.outputs / "summary.json").read_bytes()


def _back_up(postgres, outputs, names, *words, code=0):
    """Call the backup with the variables of both servers."""

    def address(server):
        login = f"{server}:{PASSWORDS[f'{server}_database_password']}"
        return f"{login}@127.0.0.1:{postgres.port}/{names[server]}"

    variables = {
        "OUTPUTS": str(outputs),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{address('prefect')}",
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{address('mlflow')}",
    }
    command = [sys.executable, "-m", "deployments.local.backup", *words]
    done = subprocess.run(command, cwd=CHECKOUT, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stderr


def _kept(machines, postgres):
    """What both databases and the shared folders hold."""
    folders = (machines.room / "artifacts", machines.outputs)
    files = {file: file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}
    return files, postgres.query("prefect", ROWS), postgres.query("mlflow", ROWS)
