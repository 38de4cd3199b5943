"""The job template of the Kubernetes guide."""

import json
import re

from prefect.server.schemas.actions import WorkPoolCreate
from prefect.utilities.templating import apply_values

from tests.conftest import CHECKOUT
from tests.deployments.containers import compose

TEMPLATE = json.loads((CHECKOUT / "deployments" / "containers" / "kubernetes.json").read_text())
PROPERTIES = TEMPLATE["variables"]["properties"]
DEFAULTS = {name: field["default"] for name, field in PROPERTIES.items() if "default" in field}


def _pod(**values):
    manifest = apply_values(TEMPLATE["job_configuration"], DEFAULTS | values)["job_manifest"]
    return manifest["spec"]["template"]["spec"]


def test_prefect_takes_the_template():
    pool = WorkPoolCreate(name="gpu", type="kubernetes", base_job_template=TEMPLATE)
    assert pool.base_job_template["variables"]["properties"].keys() == PROPERTIES.keys()


def test_every_variable_is_used_and_every_used_one_is_declared():
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == PROPERTIES.keys()
    assert all(field["title"] and field["description"] for field in PROPERTIES.values())


def test_a_run_gets_its_gpus_as_a_limit():
    for gpus in (0, 1, 2):
        (container,) = _pod(gpus=gpus)["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == gpus
        assert "nvidia.com/gpu" not in container["resources"]["requests"]
    assert DEFAULTS["gpus"] == 1


def test_what_prefects_worker_demands_of_the_manifest_is_there():
    pod = _pod()
    assert (pod["parallelism"], pod["completions"], pod["restartPolicy"]) == (1, 1, "Never")
    assert pod["containers"][0]["name"] == "prefect-job"


def test_mounts_have_volumes_and_variables_point_into_mounts():
    pod = _pod()
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    mounted = tuple(mount["mountPath"] for mount in container["volumeMounts"])
    for variable in container["env"]:
        if variable["value"].startswith("/") and variable["name"] not in ("PREFECT_HOME", "PNEUMONIA_PROJECT"):
            assert variable["value"].startswith(mounted)


def test_a_job_is_told_what_a_worker_of_the_compose_file_is_told():
    (container,) = _pod()["containers"]
    told = {variable["name"] for variable in container["env"]}
    assert set(compose.read()["services"]["gpu-worker"]["environment"]) - told == {
        "PREFECT_API_URL",  # the worker hands these on
        "PREFECT_API_AUTH_STRING_FROM_FILE",
        "PREFECT_UI_URL",
        "MLFLOW_UI_URL",  # where it differs from the address that the jobs use
    }
