"""`prefect.yaml`, read with Prefect's own models."""

from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.cli.deploy._models import ConcurrencyLimitSpec, DeploymentConfig, PrefectYamlModel, RawScheduleConfig
from prefect.cli.deploy._schedules import _schedule_config_to_deployment_schedule
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from deployments.local.resources import SEARCHES
from tasks.parameters.presets import PRESETS
from tests.conftest import CHECKOUT
from tests.deployments.forms_of_flows import triggered_flows

RAW = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS = {deployment.name: deployment for deployment in PrefectYamlModel.model_validate(RAW).deployments}
SCHEDULED = {name: deployment for name, deployment in DEPLOYMENTS.items() if deployment.schedules}
each = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
each_scheduled = pytest.mark.parametrize("deployment", SCHEDULED.values(), ids=SCHEDULED)


def test_names_are_different_and_no_key_is_misspelt():
    assert len(DEPLOYMENTS) == len(RAW["deployments"])
    for raw in RAW["deployments"]:
        assert raw.keys() <= DeploymentConfig.model_fields.keys() | {"form"}  # which Prefect passes over


def test_every_flow_that_a_person_triggers_has_a_deployment_of_its_name():
    entrypoints = {name: deployment.entrypoint for name, deployment in DEPLOYMENTS.items()}
    flows = triggered_flows()
    assert {flow.name: f"{module}.{flow.name}" for module, flow in flows.items()}.items() <= entrypoints.items()
    assert {entrypoint.rpartition(".")[0] for entrypoint in entrypoints.values()} == set(flows)


@each
def test_it_says_what_it_is(deployment):
    assert deployment.description.strip().endswith(".")
    assert deployment.tags
    assert ("scheduled" in deployment.tags) == bool(deployment.schedules)


@each
def test_its_parameters_fit_the_form(deployment):
    flow = load_flow_from_entrypoint(deployment.entrypoint)
    schema = parameter_schema(flow).model_dump()
    for changed in ({}, *(schedule.parameters for schedule in deployment.schedules or [])):
        parameters = deployment.parameters | changed
        validate(parameters, schema, raise_on_error=True, ignore_required=True)
        flow.validate_parameters(parameters)


@each
def test_it_runs_in_a_pool_that_the_services_make(deployment):
    assert (deployment.work_pool.name == "gpu") == ("medgemma" in deployment.tags)
    assert deployment.work_pool.name in ("cpu", "gpu")


@each
def test_a_search_goes_before_what_takes_hours(deployment):
    assert deployment.work_pool.work_queue_name == (SEARCHES if deployment.name in ("search", "add") else "default")


@each
def test_a_limit_says_what_becomes_of_the_next_run(deployment):
    if deployment.concurrency_limit is None:
        assert deployment.name == "search"  # quick, and changes nothing
        return
    assert isinstance(deployment.concurrency_limit, ConcurrencyLimitSpec)
    assert deployment.concurrency_limit.limit == 1
    nightly = deployment.name.endswith("nightly")
    wanted = ConcurrencyLimitStrategy.CANCEL_NEW if nightly else ConcurrencyLimitStrategy.ENQUEUE
    assert deployment.concurrency_limit.collision_strategy == wanted


@each_scheduled
def test_a_schedule_is_off_and_has_a_time_zone_and_a_name(deployment):
    for schedule in deployment.schedules:
        assert isinstance(schedule, RawScheduleConfig)
        assert schedule.active is False
        assert ZoneInfo(schedule.timezone)
        assert schedule.slug  # without it, the server makes the schedule anew each time
        made = _schedule_config_to_deployment_schedule(schedule.model_dump(exclude_none=True))
        assert made["schedule"].timezone == schedule.timezone


def test_the_schedules_are_those_of_a_team():
    found = {(name, schedule.slug) for name, each in SCHEDULED.items() for schedule in each.schedules}
    assert found >= {("pipeline", "monthly"), ("classification", "weekly"), ("retrieval-nightly", "nightly")}


def test_the_weekly_training_promotes_and_the_nightly_evaluation_judges_the_champion():
    weekly, nightly = DEPLOYMENTS["classification"], DEPLOYMENTS["retrieval-nightly"]
    trained = load_flow_from_entrypoint(weekly.entrypoint).validate_parameters(weekly.parameters)
    judged = load_flow_from_entrypoint(nightly.entrypoint).validate_parameters(nightly.parameters)
    assert trained.get("evaluation") is None or trained["evaluation"].promote
    assert judged["retrieval"].classifier == "champion"


def test_the_quickstart_has_the_values_of_its_preset():
    assert DEPLOYMENTS["pipeline-quickstart"].parameters == PRESETS["quickstart"]
