"""Deployments that are registered again, on a real server, after people changed them there as the UI does."""

import copy
import uuid

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client

from deployments.local import registration
from deployments.local.resources import make_resources
from models.errors import InputError
from tests.conftest import CHECKOUT

RAW = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))
NIGHT = {"cron": "0 2 * * *", "timezone": "UTC", "day_or": True}


class Server:
    """The server's API, as the UI calls it, and a file that is registered on it."""

    def __init__(self, folder):
        self.api = get_client(sync_client=True)  # tries again where SQLite is busy
        self.file = folder / "prefect.yaml"
        entry = next(each for each in RAW["deployments"] if each["name"] == "retrieval-nightly")
        self.entry = copy.deepcopy(entry) | {"name": f"nightly-{uuid.uuid4().hex[:8]}"}
        self.entry["parameters"] = {"retrieval": {"classifier": "champion", "galleries": 4}, "training": {"epochs": 9}}
        self.entry["schedules"].append({"slug": "hourly", "interval": 3600, "active": False})

    def register(self, **options):
        self.file.write_text(yaml.safe_dump({"pull": RAW["pull"], "deployments": [self.entry]}))
        return [line for line in registration.register(self.file, **options) if self.entry["name"] in line]

    def read(self):
        return self._answer("GET", f"/deployments/name/retrieval/{self.entry['name']}")

    def schedules(self):
        return {schedule["slug"]: schedule for schedule in self.read()["schedules"]}

    def change(self, **fields):
        self._answer("PATCH", f"/deployments/{self.read()['id']}", json=fields)

    def change_schedule(self, slug, **fields):
        schedule = self.schedules()[slug]
        self._answer("PATCH", f"/deployments/{self.read()['id']}/schedules/{schedule['id']}", json=fields)

    def delete_schedule(self, slug):
        schedule = self.schedules()[slug]
        self._answer("DELETE", f"/deployments/{self.read()['id']}/schedules/{schedule['id']}")

    def add_schedule(self, **fields):
        self._answer("POST", f"/deployments/{self.read()['id']}/schedules", json=[fields])

    def trigger(self, parameters):
        try:
            return self.api.request(
                "POST", f"/deployments/{self.read()['id']}/create_flow_run", json={"parameters": parameters}
            )
        except httpx.HTTPStatusError as error:
            return error.response

    def delete(self):
        self._answer("DELETE", f"/deployments/{self.read()['id']}")

    def _answer(self, method, path, **content):
        answer = self.api.request(method, path, **content)
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def resources(prefect_server):
    make_resources()


@pytest.fixture
def server(tmp_path, resources):
    server = Server(tmp_path)
    assert server.register() == []
    yield server
    server.delete()


def test_to_register_again_changes_nothing(server):
    before = server.read()
    assert server.register() == []
    assert server.read() == before


def test_what_people_changed_stays(server):
    first = server.read()
    server.change(
        parameters={"retrieval": {"classifier": "champion", "galleries": 6}, "training": {"epochs": 9}},
        tags=[*first["tags"], "mine"],
        description="Ours.",
        concurrency_limit=3,
        concurrency_options={"collision_strategy": "ENQUEUE"},
        work_pool_name="cpu",
        work_queue_name="searches",
        job_variables={"stream_output": False},
        enforce_parameter_schema=False,
        paused=True,
    )
    server.change_schedule("nightly", active=True, schedule=NIGHT | {"cron": "30 4 * * *", "timezone": "Europe/Rome"})
    server.delete_schedule("hourly")
    server.add_schedule(
        schedule=NIGHT | {"cron": "0 12 * * *"}, active=True, parameters={"retrieval": {"galleries": 2}}
    )
    changed = server.read()
    assert changed != first
    assert server.register() == []
    assert server.read() == changed


def test_what_the_file_changed_is_taken_beside_what_people_changed(server):
    server.change(parameters={"retrieval": {"classifier": "champion", "galleries": 6}, "training": {"epochs": 9}})
    server.change(tags=["retrieval", "mine"])
    server.change_schedule("nightly", active=True)
    server.add_schedule(schedule=NIGHT | {"cron": "0 12 * * *"}, active=True)
    server.entry |= {"description": "Newer.", "tags": ["retrieval", "scheduled", "newer"], "concurrency_limit": None}
    server.entry["parameters"] = {"retrieval": {"classifier": "champion", "galleries": 4, "index": "flat"}}
    nightly = server.entry["schedules"][0] | {"cron": "0 5 * * *"}
    server.entry["schedules"] = [nightly, {"slug": "weekly", "cron": "0 3 * * SUN", "active": False}]
    assert server.register() == []
    found = server.read()
    assert found["description"] == "Newer."
    assert set(found["tags"]) == {"retrieval", "mine", "newer"}
    assert found["parameters"] == {"retrieval": {"classifier": "champion", "galleries": 6, "index": "flat"}}
    assert found["global_concurrency_limit"] is None
    schedules = server.schedules()
    assert schedules.keys() == {"nightly", "weekly", None}  # the one of the UI has no slug
    assert schedules["nightly"]["active"]
    assert schedules["nightly"]["schedule"]["cron"] == "0 5 * * *"
    assert not schedules["weekly"]["active"]
    assert schedules[None]["schedule"]["cron"] == "0 12 * * *"


def test_where_both_changed_a_persons_value_stays_which_is_said_once(server):
    server.change(parameters={"retrieval": {"classifier": "champion", "galleries": 6}, "training": {"epochs": 9}})
    server.change_schedule("nightly", schedule=NIGHT | {"cron": "30 4 * * *"})
    server.delete_schedule("hourly")
    server.entry["parameters"]["retrieval"]["galleries"] = 8
    server.entry["schedules"][0]["cron"] = "0 5 * * *"
    server.entry["schedules"][1]["interval"] = 7200
    changed = server.read()
    (said,) = server.register()
    assert said == (
        f"retrieval/{server.entry['name']}: parameters.retrieval.galleries, schedules.nightly.times.cron, "
        "schedules.hourly stay as they are on the server, where somebody changed them; prefect.yaml has other values, "
        "which `make register ARGS=--reset` takes."
    )
    found = server.read()
    assert found["parameters"] == changed["parameters"]
    assert found["schedules"] == changed["schedules"]
    assert server.register() == []
    assert server.read() == found


def test_a_reset_goes_back_to_the_file(server):
    first = server.read()
    server.change(parameters={}, tags=["mine"], description="Ours.", concurrency_limit=None, paused=True)
    server.change_schedule("nightly", active=True, schedule=NIGHT | {"cron": "30 4 * * *"})
    server.delete_schedule("hourly")
    server.add_schedule(schedule=NIGHT, active=True)
    assert server.register(reset=True) == []
    volatile = {"updated", "schedules", "global_concurrency_limit", "concurrency_limit_id", "created"}
    found = server.read()
    assert {name: value for name, value in found.items() if name not in volatile} == {
        name: value for name, value in first.items() if name not in volatile
    }
    assert found["global_concurrency_limit"]["limit"] == 1
    times = ("schedule", "active", "parameters")
    assert {slug: [each[name] for name in times] for slug, each in server.schedules().items()} == {
        each["slug"]: [each[name] for name in times] for each in first["schedules"]
    }


def test_a_server_that_was_registered_without_a_record_keeps_its_values_which_is_said(server):
    form = server.read()["parameter_openapi_schema"]
    del form["x-registered"]
    server.change(parameter_openapi_schema=form, description="Ours.")
    (said,) = server.register()
    assert "description stay" in said
    assert server.read()["description"] == "Ours."


def test_a_deployment_that_was_deleted_is_made_again(server):
    server.delete()
    assert server.register() == []
    assert server.schedules().keys() == {"nightly", "hourly"}


def test_a_misspelt_name_is_refused_when_the_run_is_made(server):
    for parameters, sentence in (
        (
            {"retrievl": {"galleries": 3}},
            "'retrievl' is not one of ['dataset', 'training', 'evaluation', 'retrieval', 'execution']",
        ),
        ({"retrieval": {"gallerys": 3}}, "'gallerys' was unexpected"),
        ({"retrieval": {"index": "flatt"}}, "'flatt' is not one of ['auto', 'flat', 'hnsw', 'ivf']"),
        ({"retrieval": {"galleries": "many"}}, "'many' is not of type 'integer'"),
    ):
        answer = server.trigger(parameters)
        assert answer.status_code == 409
        assert sentence in answer.json()["detail"]
    answer = server.trigger({"retrieval": {"galleries": 3}})
    assert answer.status_code == 201


def test_values_that_no_longer_fit_the_form_are_said_and_left(server):
    form = server.read()["parameter_openapi_schema"]
    form["definitions"]["TrainingParameters"]["properties"]["older"] = {"type": "integer"}  # a field that is gone now
    server.change(parameter_openapi_schema=form, parameters={"training": {"older": 1}})
    before = server.read()
    (said,) = server.register()
    assert "older is no field of training" in said
    assert server.read() == before
    assert server.register(reset=True) == []
    assert server.read()["parameters"] == server.entry["parameters"]


def test_a_form_of_few_fields_takes_all_and_refuses_what_is_misspelt(server):
    server.entry["form"] = {"retrieval": ["galleries"], "training": ["epochs", "seed"]}
    assert server.register() == []
    form = server.read()["parameter_openapi_schema"]
    assert list(form["properties"]) == ["retrieval", "training"]
    assert list(form["definitions"]["TrainingParameters"]["properties"]) == ["epochs", "seed"]
    for parameters in (
        {}, {"retrieval": {"galleries": 3}}, {"retrieval": {"index": "flat"}, "training": {"patience": None}},
        {"dataset": {"limit": None}}, {"dataset": {"limit": 64}, "execution": {"workers": 1}},
    ):  # fmt: skip
        assert server.trigger(parameters).status_code == 201, parameters
    for parameters in (
        {"retrievl": {}}, {"retrieval": {"gallerys": 3}}, {"retrieval": {"galleries": 0}},
        {"retrieval": {"k_values": []}}, {"dataset": {"limit": 3}}, {"dataset": {"limits": 64}},
        {"execution": {"workers": "many"}},
    ):  # fmt: skip
        assert server.trigger(parameters).status_code == 409, parameters


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"schedules": [{"cron": "0 2 * * *"}]}, "has no slug"),
        ({"parameters": {"training": {"epoch": 3}}}, "epoch is no field of training"),
        ({"form": {"training": ["epoch"]}}, "form: epoch is no field of training, choose from architecture, "),
        ({"form": {"trainin": ["epochs"]}}, "form: trainin is no form, choose from dataset, training, "),
        ({"schedules": [{"slug": "x", "cron": "0 2 * * *", "parameters": {"trainin": {}}}]}, "trainin is no parameter"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_changed(server, wrong, sentence):
    before = server.read()
    right, server.entry = server.entry, server.entry | wrong
    with pytest.raises(InputError, match=sentence):
        server.register()
    server.entry = right
    assert server.read() == before
