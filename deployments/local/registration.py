"""Register the deployments of `prefect.yaml`, and keep what people changed on the server since the last time.

What a person can change in the UI is merged three ways: what was registered last, what the server has now, and the
file. What was registered last stands on the server, beside the deployment's form (`x-registered`), so that all machines
that register go by the same. `prefect deploy` would write parameters, tags and schedules anew.

`deployments.local.set_up` registers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.flows import load_flow_from_entrypoint

from deployments.local.form import form_schema, parameter_names
from deployments.local.three_way import MISSING, merged
from models.errors import InputError
from tasks.parameters.check import check_parameters

FILE = Path(__file__).resolve().parents[2] / "prefect.yaml"
RESET = "--reset"
_REGISTERED = "x-registered"  # a key that JSON Schema leaves to its users
_Time = CronSchedule | IntervalSchedule | RRuleSchedule
_TIMES: dict[str, type[_Time]] = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
_TIME_FIELDS = (*_TIMES, "timezone", "day_or", "anchor_date")
_ANCHOR = "2000-01-01T00:00:00+00:00"  # of intervals: the same at each registration, not its moment


def register(file: Path = FILE, *, reset: bool = False) -> list[str]:
    """Make the deployments on the server, or bring those that are there to what the merge says.

    Args:
        file: in the format of `prefect.yaml`.
        reset: take the file's values, whatever people changed.

    Returns:
        Sentences for people: which changes of the file gave way to a person's, which deployments the file lost.

    Raises:
        InputError: a parameter in the file is wrong, or a schedule has no slug, by which it is known to the server.
    """
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))
    said = []
    with get_client(sync_client=True) as client:
        there = {}
        for deployment in client.read_deployments():
            there[f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"] = deployment
        for entry in declared["deployments"]:
            flow: Flow[..., Any] = load_flow_from_entrypoint(entry["entrypoint"])
            form = _form(flow, entry)
            names = parameter_names(form)
            ours = _of_file(entry, names)
            kept = {
                "entrypoint": entry["entrypoint"],
                "version": flow.version,
                "pull_steps": declared["pull"],
                "parameter_openapi_schema": form | {_REGISTERED: ours},
            }
            name = f"{flow.name}/{entry['name']}"
            known = there.pop(name, None)
            if known is None:
                _create(client, client.create_flow_from_name(flow.name), entry["name"], ours, kept)
                continue
            base = (known.parameter_openapi_schema or {}).get(_REGISTERED, MISSING)
            wanted, both = (ours, []) if reset else merged(base, _of_server(known), ours)
            try:
                check_parameters(wanted["parameters"], names)
            except InputError as error:
                said.append(
                    f"{name} stays as it was registered: its parameters on the server do not fit its form any more "
                    f"({error}) Correct them in the Prefect UI, or take the file's with `make register ARGS={RESET}`."
                )
                continue
            _update(client, known, wanted, kept)
            if both:
                said.append(
                    f"{name}: {', '.join(both)} stay as they are on the server, where somebody changed them; "
                    f"prefect.yaml has other values, which `make register ARGS={RESET}` takes."
                )
    said += [
        f"{name} is no longer in prefect.yaml: delete it in the Prefect UI, or it goes on."
        for name, deployment in there.items()
        if _REGISTERED in (deployment.parameter_openapi_schema or {})
    ]
    return said


def _form(flow: Flow[..., Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return form_schema(flow, entry.get("form"))
    except InputError as error:
        raise InputError(f"prefect.yaml, {entry['name']}: {error}") from error


def _of_file(entry: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Take of an entry of the file what a person can change on the server, in the form that the merge takes."""
    for parameters in (
        entry.get("parameters", {}),
        *(each.get("parameters", {}) for each in entry.get("schedules", [])),
    ):
        try:
            check_parameters(parameters, names)
        except InputError as error:
            raise InputError(f"prefect.yaml, {entry['name']}: {error}") from error
    pool, limit = entry["work_pool"], entry.get("concurrency_limit") or {}
    options = {name: limit[name] for name in ("collision_strategy", "grace_period_seconds") if name in limit}
    return {
        "description": entry["description"].strip(),
        "tags": dict.fromkeys(entry.get("tags", []), True),
        "parameters": entry.get("parameters", {}),
        "paused": entry.get("paused", False),
        "enforce_parameter_schema": entry.get("enforce_parameter_schema", True),
        "work_pool": {"work_pool_name": pool["name"], "work_queue_name": pool.get("work_queue_name", "default")},
        "job_variables": pool.get("job_variables", {}),
        "concurrency_limit": limit.get("limit"),
        "concurrency_options": _options(options),
        "schedules": {_slug(entry, schedule): _scheduled(schedule) for schedule in entry.get("schedules", [])},
    }


def _slug(entry: Mapping[str, Any], schedule: Mapping[str, Any]) -> str:
    if not schedule.get("slug"):
        raise InputError(f"prefect.yaml: a schedule of {entry['name']} has no slug: give it one, which no other has.")
    return str(schedule["slug"])


def _scheduled(schedule: Mapping[str, Any]) -> dict[str, Any]:
    times = {name: schedule[name] for name in _TIME_FIELDS if name in schedule}
    if "interval" in times:
        times.setdefault("anchor_date", _ANCHOR)
    return {
        "times": _time(times).model_dump(mode="json"),
        "active": schedule.get("active", True),
        "parameters": schedule.get("parameters", {}),
    }


def _of_server(known: DeploymentResponse) -> dict[str, Any]:
    """Take the same of a deployment on the server. A schedule that was made in the UI has no slug, but an id."""
    limit = known.global_concurrency_limit
    return {
        "description": known.description,
        "tags": dict.fromkeys(known.tags, True),
        "parameters": known.parameters,
        "paused": known.paused,
        "enforce_parameter_schema": known.enforce_parameter_schema,
        "work_pool": {"work_pool_name": known.work_pool_name, "work_queue_name": known.work_queue_name},
        "job_variables": known.job_variables or {},
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": _options(known.concurrency_options),
        "schedules": {
            schedule.slug or str(schedule.id): {
                "times": schedule.schedule.model_dump(mode="json"),
                "active": schedule.active,
                "parameters": schedule.parameters,
            }
            for schedule in known.schedules
        },
    }


def _options(options: ConcurrencyOptions | Mapping[str, Any] | None) -> dict[str, Any]:
    if not options:
        return {}
    return ConcurrencyOptions.model_validate(options).model_dump(mode="json")


def _create(
    client: SyncPrefectClient, flow_id: Any, name: str, ours: Mapping[str, Any], kept: Mapping[str, Any]
) -> None:
    schedules = [_created(slug, schedule) for slug, schedule in ours["schedules"].items()]
    client.create_deployment(flow_id, name, schedules=schedules, **_fields(ours), **kept)


def _update(
    client: SyncPrefectClient, known: DeploymentResponse, wanted: Mapping[str, Any], kept: Mapping[str, Any]
) -> None:
    """Change what differs, the record of it last: where this ends half-way, the next time completes it."""
    now = _of_server(known)
    for schedule in known.schedules:
        key = schedule.slug or str(schedule.id)
        if key not in wanted["schedules"]:
            client.delete_deployment_schedule(known.id, schedule.id)
        elif wanted["schedules"][key] != now["schedules"][key]:
            new = wanted["schedules"][key]
            client.update_deployment_schedule(
                known.id, schedule.id, new["active"], _time(new["times"]), parameters=new["parameters"]
            )
    missing = [_created(slug, new) for slug, new in wanted["schedules"].items() if slug not in now["schedules"]]
    if missing:
        client.create_deployment_schedules(known.id, missing)
    before = _fields(now) | {name: getattr(known, name) for name in kept}
    after = _fields(wanted) | dict(kept)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if changed.keys() & wanted["work_pool"].keys():
        changed |= wanted["work_pool"]  # a queue is named within its pool
    if changed:
        client.update_deployment(known.id, DeploymentUpdate(**changed))


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Name the values, but for the schedules, as Prefect's client does."""
    plain = {name: value for name, value in values.items() if name not in ("tags", "work_pool", "schedules")}
    options = plain.pop("concurrency_options") or None
    return {"tags": list(values["tags"]), "concurrency_options": options, **values["work_pool"], **plain}


def _created(slug: str, schedule: Mapping[str, Any]) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        slug=slug, schedule=_time(schedule["times"]), active=schedule["active"], parameters=schedule["parameters"]
    )


def _time(times: Mapping[str, Any]) -> _Time:
    (kind,) = (name for name in _TIMES if name in times)
    return _TIMES[kind].model_validate(times)
