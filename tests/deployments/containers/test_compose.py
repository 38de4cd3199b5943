"""What can be told of the compose file without a container engine; tests/e2e/test_postgres.py runs what it says."""

import functools
import re

import prefect.settings
import pytest
import yaml
from prefect.settings.legacy import _get_valid_setting_names

from deployments.page.settings import page_settings
from models.errors import InputError
from tests.conftest import CHECKOUT
from tests.deployments.containers import compose

FILE = compose.read()
SERVICES = FILE["services"]
OURS = [name for name in SERVICES if name != "postgres"]
LONG_LIVED = [name for name in SERVICES if name != "set-up"]
# libpq's, Hugging Face's and PostgreSQL's own
ELSEWHERE = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "HF_TOKEN", "HF_HOME", "POSTGRES_PASSWORD_FILE"}


@functools.cache
def _known_variables():
    import mlflow.environment_variables  # here, since every process that collects tests would pay for them
    from mlflow.cli import cli as mlflow_commands

    known = set(ELSEWHERE)
    known |= {name for name in dir(mlflow.environment_variables) if name.startswith("MLFLOW_")}
    known |= {option.envvar for option in mlflow_commands.commands["server"].params if getattr(option, "envvar", None)}
    known |= _get_valid_setting_names(prefect.settings.Settings)
    for file in [*CHECKOUT.glob("tasks/**/*.py"), *CHECKOUT.glob("deployments/**/*.py"), CHECKOUT / "prefect.yaml"]:
        known |= set(re.findall(r"\b[A-Z][A-Z_]{3,}\b", file.read_text()))
    return known


def test_the_services_are_those_of_the_topology():
    assert set(SERVICES) == {"postgres", "prefect", "mlflow", "set-up", "page", "cpu-worker", "gpu-worker"}
    assert [name for name, service in SERVICES.items() if service.get("profiles")] == ["gpu-worker"]


@pytest.mark.parametrize("name", LONG_LIVED)
def test_every_service_has_a_health_check_and_comes_back(name):
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.]+)?", SERVICES[name]["image"])
    assert re.search(r"^FROM python:3\.11\.\d+-slim-\w+$", _dockerfile(), re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_files_and_are_granted(name):
    service = SERVICES[name]
    named = {
        value.removeprefix("/run/secrets/")
        for variable, value in service["environment"].items()
        if value.startswith("/run/secrets/") and variable.endswith("_FILE")
    }
    read_by_sql = {"prefect_database_password", "mlflow_database_password"} if name == "postgres" else set()
    assert named | read_by_sql == set(service["secrets"])
    assert set(service["secrets"]) <= set(FILE["secrets"])
    for variable, value in service["environment"].items():
        if re.search("PASSWORD|AUTH_STRING|SECRET|TOKEN", variable):
            assert value.startswith("/run/secrets/"), variable
        assert not re.search(r"://[^/@]*:[^/@]*@", value), f"{variable} has a password in its address"


def test_every_secret_is_a_file_that_git_and_the_image_leave_out():
    for name, secret in FILE["secrets"].items():
        assert secret == {"file": f"../secrets/{name}"}
    assert "/deployments/secrets/" in (CHECKOUT / ".gitignore").read_text().splitlines()
    assert "deployments/secrets" in (CHECKOUT / ".dockerignore").read_text().splitlines()


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_something_reads(name):
    variables = {variable.removesuffix("_FROM_FILE") for variable in SERVICES[name]["environment"]}
    assert variables <= _known_variables()


def test_ports_are_open_on_loopback_only_and_can_be_moved():
    open_ports = {"prefect": "4200", "mlflow": "5000", "page": "8300"}
    for name, port in open_ports.items():
        assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert {name for name, service in SERVICES.items() if "ports" in service} == open_ports.keys()
    moved = compose.read({"BIND_ADDRESS": "10.0.0.5", "PUBLIC_HOST": "team.example", "MLFLOW_PORT": "5300"})["services"]
    assert moved["mlflow"]["ports"] == ["10.0.0.5:5300:5000"]
    assert "team.example:5300" in moved["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert moved["mlflow"]["environment"]["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "http://team.example:5300"
    assert moved["prefect"]["environment"]["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://team.example:4200"
    assert moved["prefect"]["environment"]["PREFECT_UI_URL"] == "http://team.example:4200/v2"
    assert moved["cpu-worker"]["environment"]["MLFLOW_UI_URL"] == "http://team.example:5300"
    assert page_settings(moved["page"]["environment"] | {"PAGE_LOGIN": "a:password"}).names >= {"team.example"}


def test_the_page_shares_the_workers_products_and_has_a_login():
    page = SERVICES["page"]
    assert page["volumes"] == ["outputs:/outputs"]
    with pytest.raises(InputError, match="needs a login"):
        page_settings(page["environment"])
    assert page["environment"]["PAGE_LOGIN_FROM_FILE"] == "/run/secrets/page_login"


def test_only_the_gpu_worker_reserves_a_gpu():
    (device,) = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert not [name for name in SERVICES if "deploy" in SERVICES[name] and name != "gpu-worker"]


def test_workers_share_products_and_read_the_data():
    for name in ("cpu-worker", "gpu-worker"):
        assert {"outputs:/outputs", "../../data:/data:ro"} <= set(SERVICES[name]["volumes"])
        assert SERVICES[name]["environment"]["OUTPUTS"] == "/outputs"
        pool = name.removesuffix("-worker")
        assert SERVICES[name]["command"][2:6] == ["deployments.local.worker", "start", "--pool", pool]


def test_every_mounted_thing_exists():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("./"):
                assert (compose.FILE.parent / source).is_file()
            elif not source.startswith("."):
                assert source in FILE["volumes"]
                assert target in _dockerfile() or target == "/var/lib/postgresql/data"


def test_the_image_holds_what_the_commands_need():
    for source in re.findall(r"^COPY (\S+)", _dockerfile(), re.MULTILINE):
        assert (CHECKOUT / source).exists()
        assert f"!{source}" in (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert {service["command"][0] for name, service in SERVICES.items() if name in OURS} == {"python"}


def test_the_declared_deployments_use_the_workers_pools():
    declared = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    assert {entry["work_pool"]["name"] for entry in declared} == {"cpu", "gpu"}


def _dockerfile():
    return (CHECKOUT / "deployments" / "containers" / "Dockerfile").read_text()
