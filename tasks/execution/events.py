"""What the flows tell Prefect beside their states: events for automations to act on and for the event feed."""

from collections.abc import Mapping

from prefect.events import emit_event

CHAMPION_CHANGED, CLASSIFIER_WORSE, DRIFT_FOUND, FOREIGN_FOUND = (
    "pneumonia.champion.changed",
    "pneumonia.classifier.worse",
    "pneumonia.drift.found",
    "pneumonia.foreign.found",
)
_DOMAIN_AUC, _THRESHOLD = "drift/new_domain_auc_", "drift/new_threshold_"


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


def drift_measured(name: str, metrics: Mapping[str, float], threshold: float | None = None) -> None:
    """Tell that newly seen embeddings lie elsewhere than those that the index holds, if some class of them does.

    Args:
        name: registered name of the classifier that made both.
        metrics: what was measured on the new images, all of which is told: a class has drifted if its
            `drift/new_domain_auc_<class>` is above its `drift/new_threshold_<class>`.
        threshold: what a person wants in place of every threshold.
    """
    told = dict(metrics)
    aucs = {metric.removeprefix(_DOMAIN_AUC): auc for metric, auc in metrics.items() if metric.startswith(_DOMAIN_AUC)}
    if threshold is not None:
        told |= {f"{_THRESHOLD}{each}": threshold for each in aucs}
    moved = [each for each, auc in aucs.items() if auc > told.get(f"{_THRESHOLD}{each}", 1.0)]
    if moved:
        emit_event(DRIFT_FOUND, classifier_resource(name), payload={"classes": ", ".join(moved)} | told)


def pictures_screened(name: str, metrics: Mapping[str, float]) -> None:
    """Tell that pictures are foreign to the classifier, or cannot be read, if some are.

    Args:
        name: registered name of the classifier.
        metrics: `cases/…`, all of which is told.
    """
    if metrics["cases/foreign"] or metrics["cases/unreadable"]:
        emit_event(FOREIGN_FOUND, classifier_resource(name), payload=dict(metrics))
