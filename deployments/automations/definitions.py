"""What the Prefect server does by itself: crash silent runs, stop broken schedules, follow a new champion, tell people.

`deployments.local.set_up` registers these automations. A definition that was changed here is changed there, unless
somebody changed it there too; `--reset` takes it all the same. What somebody switched off stays off.
"""

import hashlib
import json
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, PauseDeployment, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from deployments.automations.alerts import ENDS, alerts, flow_run_events
from deployments.automations.heartbeat import heartbeat_window
from deployments.automations.notification import notification_block
from deployments.automations.webhook import alerts_webhook
from tasks.execution.events import CHAMPION_CHANGED, classifier_resource
from tasks.tracking.registry import registered_name

PAUSE_DAYS = 15  # hold three runs of a weekly schedule
FIELDS = set(AutomationCore.model_fields) - {"owner_resource"}  # which the server does not take
_MARK = "registered:"
_RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})


def automations(retrieval: UUID, window: int) -> list[AutomationCore]:
    """Define the automations that act.

    Args:
        retrieval: id of the deployment that builds the index.
        window: seconds without a sign of life after which a run counts as crashed.
    """
    return [
        AutomationCore(
            name="Crash runs that have gone silent",
            description=f"Its process was killed, or its machine is gone: no sign of life for {window} s.",
            trigger=EventTrigger(
                after=flow_run_events("heartbeat"),
                expect=flow_run_events("heartbeat", *ENDS),
                match=_RUNS,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                within=timedelta(seconds=window),
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"No sign of life for {window} s. Run it again: what it had finished is kept.",
                )
            ],
        ),
        AutomationCore(
            name="Pause schedules that keep failing",
            description=(
                f"Three scheduled runs of a deployment failed or crashed within {PAUSE_DAYS} days: its schedules rest "
                "until somebody has looked and resumed them. Runs that a person starts do not count and stay possible."
            ),
            trigger=EventTrigger(
                expect=flow_run_events("Failed", "TimedOut", "Crashed"),
                match=_RUNS,
                match_related=ResourceSpecification(
                    {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.auto-scheduled"}
                ),
                for_each={"related:deployment:prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=3,
                within=timedelta(days=PAUSE_DAYS),
            ),
            actions=[PauseDeployment(source="inferred")],
        ),
        AutomationCore(
            name="Index anew for a new champion",
            description=(
                "The search for similar cases follows the champion: embed and index with it. Who made it champion has "
                "judged it, so that searches take its index whatever the one in use finds."
            ),
            trigger=EventTrigger(
                expect={CHAMPION_CHANGED},
                match=ResourceSpecification(dict(classifier_resource(registered_name("pneumoniamnist")))),
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[
                RunDeployment(
                    source="selected",
                    deployment_id=retrieval,
                    parameters={"retrieval": {"classifier": "champion", "publish": "always"}},
                )
            ],
        ),
    ]


def register(*, reset: bool = False) -> list[str]:
    """Make the automations on the server, or change those that are there and differ.

    Args:
        reset: take the definitions of this module, whatever people changed.

    Returns:
        Sentences for people: which changed definitions gave way to a person's.

    Raises:
        InputError: a variable of the environment is wrong.
    """
    window, address = heartbeat_window(), alerts_webhook()
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("retrieval/retrieval")
        block = notification_block(client, address)
        defined = [*automations(deployment.id, window), *alerts(block)]
        return [said for automation in defined if (said := _register(client, automation, reset))]


def _register(client: SyncPrefectClient, automation: AutomationCore, reset: bool) -> str | None:
    """Leave one alone that is as it should be: a change would forget which runs it is waiting for.

    A tag says which definition was registered last.
    """
    mark = _mark(automation)
    known = next(iter(client.read_automations_by_name(automation.name)), None)
    if known is None:
        client.create_automation(automation.model_copy(update={"tags": [mark]}))
        return None
    last = [tag for tag in known.tags if tag.startswith(_MARK)]
    now = _mark(known)
    keep = bool(last) and now not in (*last, mark) and not reset
    if last == [mark] and (keep or now == mark):
        return None
    content = {name: getattr(known if keep else automation, name) for name in FIELDS}
    tags = [*(tag for tag in known.tags if tag not in last), mark]
    client.update_automation(known.id, AutomationCore(**content | {"enabled": known.enabled, "tags": tags}))
    if not keep:
        return None
    return (
        f"Automation {automation.name!r} stays as it is on the server, where somebody changed it; it is defined "
        "otherwise now, which `make register ARGS=--reset` takes."
    )


def _mark(automation: AutomationCore) -> str:
    definition = automation.model_dump(include={"description", "trigger", "actions"})
    text = json.dumps(definition, sort_keys=True, default=_plain)
    return f"{_MARK}{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)
