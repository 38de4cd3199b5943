"""What people are told: failed, stuck and waiting runs, a classifier that got worse, drift, foreign pictures."""

from datetime import timedelta
from uuid import UUID

from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from tasks.execution.events import CLASSIFIER_WORSE, DRIFT_FOUND, FOREIGN_FOUND

ENDS = (
    "Completed", "Cached", "Pruned", "Failed", "TimedOut", "Cancelled", "Crashed", "Paused", "Suspended",
    "AwaitingRetry",
)  # fmt: skip
"""States in which a run no longer works."""
LONG_HOURS = 12
LATE_HOURS = 1
_STARTS = ("Pending", "Running", "AwaitingConcurrencySlot")
_TRIGGERED = {  # of a deployment: what a person starts in a shell is watched by them, and a subflow fails its parent
    "match": ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
    "match_related": ResourceSpecification(
        {"prefect.resource.role": "deployment", "prefect.resource.id": "prefect.deployment.*"}
    ),
}
_CLASSIFIERS = ResourceSpecification({"prefect.resource.id": "pneumonia.classifier.*"})
_LINK = "{{ flow_run | ui_url or '' }}"


def flow_run_events(*states: str) -> set[str]:
    """Name events of flow runs: a state that they come into, or `heartbeat`."""
    return {f"prefect.flow-run.{state}" for state in states}


def alerts(block: UUID) -> list[AutomationCore]:
    """Define the automations that tell people.

    Args:
        block: notification block that sends.
    """
    return [
        AutomationCore(
            name="Alert: a run failed",
            description="A run of a deployment failed, crashed or ran out of time.",
            trigger=EventTrigger(
                expect=flow_run_events("Failed", "TimedOut", "Crashed"), posture=Posture.Reactive, **_TRIGGERED
            ),
            actions=[_tell(block, "{{ flow_run.name }}: {{ flow_run.state.name }}", "{{ flow_run.state.message }}")],
        ),
        AutomationCore(
            name="Alert: a run does not end",
            description=f"A run of a deployment has been under way for {LONG_HOURS} h.",
            trigger=EventTrigger(
                after=flow_run_events("Running"),
                expect=flow_run_events(*ENDS),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                within=timedelta(hours=LONG_HOURS),
                **_TRIGGERED,
            ),
            actions=[
                _tell(
                    block,
                    "{{ flow_run.name }}: no end",
                    f"It has been running for {LONG_HOURS} h. Its log says how far it is; it can be cancelled on its "
                    "page.",
                )
            ],
        ),
        AutomationCore(
            name="Alert: a run does not start",
            description=f"A run of a deployment should have started {LATE_HOURS} h ago.",
            trigger=EventTrigger(
                after=flow_run_events("Late"),
                expect=flow_run_events(*_STARTS, *ENDS),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                within=timedelta(hours=LATE_HOURS),
                **_TRIGGERED,
            ),
            actions=[
                _tell(
                    block,
                    "{{ flow_run.name }}: not started",
                    f"It has been waiting for {LATE_HOURS} h: its pool has no worker, or no room for another run.",
                )
            ],
        ),
        AutomationCore(
            name="Alert: a classifier is worse than the champion",
            description="A training ended with a smaller validation AUC than the champion has on the same images.",
            trigger=EventTrigger(expect={CLASSIFIER_WORSE}, match=_CLASSIFIERS, posture=Posture.Reactive),
            actions=[
                _tell(
                    block,
                    "{{ event.resource.name }}: worse than the champion",
                    "Validation AUC {{ '%.4f' | format(event.payload['val/auc']) }}, the champion's is "
                    "{{ '%.4f' | format(event.payload['champion/val/auc']) }}. The champion stays.",
                )
            ],
        ),
        AutomationCore(
            name="Alert: new images lie elsewhere than the index",
            description=(
                "Test images that the index had not seen, in a retrieval run with the champion, or the pictures in the "
                "inbox that are not foreign, are told from those of their class, with an AUC above what images as "
                "before reach by chance, or above the variable pneumonia_drift_auc where somebody has made it."
            ),
            trigger=EventTrigger(expect={DRIFT_FOUND}, match=_CLASSIFIERS, posture=Posture.Reactive),
            actions=[
                _tell(
                    block,
                    "{{ event.resource.name }}: drift in {{ event.payload['classes'] }}",
                    "New embeddings are told from those of the index with an AUC above the threshold (.5 where they "
                    "lie alike):"
                    "{% for name, value in event.payload.items() if name.startswith('drift/') %}"
                    "\n{{ name }} {{ '%.3f' | format(value) }}{% endfor %}",
                )
            ],
        ),
        AutomationCore(
            name="Alert: foreign pictures in the inbox",
            description="Pictures in the inbox do not look like what the classifier was made for, or cannot be read.",
            trigger=EventTrigger(expect={FOREIGN_FOUND}, match=_CLASSIFIERS, posture=Posture.Reactive),
            actions=[
                _tell(
                    block,
                    "Inbox: {{ '%d' | format(event.payload['cases/foreign']) }} foreign, "
                    "{{ '%d' | format(event.payload['cases/unreadable']) }} unreadable",
                    "Of {{ '%d' | format(event.payload['cases/count']) }} new pictures. They are not counted; the page "
                    "of the run says why.",
                )
            ],
        ),
    ]


def _tell(block: UUID, subject: str, body: str) -> SendNotification:
    return SendNotification(block_document_id=block, subject=subject, body=f"{body}\n{_LINK}")
