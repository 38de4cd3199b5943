"""What the flows tell Prefect beside their states: events for automations to act on and for the event feed."""

import math
from collections.abc import Mapping

from prefect.events import emit_event

CHAMPION_CHANGED, CLASSIFIER_WORSE, DRIFT_FOUND = (
    "pneumonia.champion.changed",
    "pneumonia.classifier.worse",
    "pneumonia.drift.found",
)
DRIFT_AUC = 0.75
"""From here on the embeddings of a class are told from those it was validated on too well to be called alike."""
_DOMAIN_AUC = "shift/domain_auc"


def classifier_resource(name: str) -> dict[str, str]:
    """Name a registered classifier as the resource of an event."""
    return {"prefect.resource.id": f"pneumonia.classifier.{name}", "prefect.resource.name": name}


def champion_changed(name: str, version: int, reason: str) -> None:
    """Tell that a version has become the champion.

    Args:
        name: registered name.
        version: the champion now.
        reason: why.
    """
    emit_event(CHAMPION_CHANGED, classifier_resource(name), payload={"version": version, "reason": reason})


def classifier_compared(name: str, auc: float, champion_auc: float) -> None:
    """Tell that a new classifier is worse than the champion, if it is.

    Args:
        name: registered name.
        auc: its area under the ROC curve on validation.
        champion_auc: that of the champion on the same images.
    """
    if auc < champion_auc:
        emit_event(
            CLASSIFIER_WORSE, classifier_resource(name), payload={"val/auc": auc, "champion/val/auc": champion_auc}
        )


def drift_measured(name: str, metrics: Mapping[str, float]) -> None:
    """Tell that the test images lie elsewhere than those of validation, if some class of them does.

    Args:
        name: registered name.
        metrics: what the flow measured; those of the shift are told.
    """
    shift = {
        metric: value for metric, value in metrics.items() if metric.startswith("shift/") and not math.isnan(value)
    }
    if any(value >= DRIFT_AUC for metric, value in shift.items() if metric.startswith(_DOMAIN_AUC)):
        emit_event(DRIFT_FOUND, classifier_resource(name), payload=shift)
