"""The champion: show the registered versions of a classifier, or make an older one the champion again."""

from prefect import flow
from prefect.logging import get_run_logger

from flows.support.naming import run_name
from flows.support.overview import show_overview
from flows.support.promotion import restore
from flows.support.terminal import print_table
from models.markdown import escape
from tasks.execution import events
from tasks.execution.artifacts import create_artifact
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.champion import ChampionParameters
from tasks.shared.markdown import table
from tasks.tracking import registry

_CHAMPION = ChampionParameters()
_PRINTED = ("version", "alias", "val/auc", "reason")


@flow(name="champion", flow_run_name=run_name)
@in_plain_words
def champion(champion: ChampionParameters = _CHAMPION) -> list[dict[str, str]]:
    """Show the registered versions of a classifier, or make an older one the champion again."""
    if champion.version is not None:
        decision = restore(champion.name, champion.version, champion.reason)
        if decision.promoted and decision.champion is not None:
            events.champion_changed(champion.name, decision.champion, decision.reason)
        get_run_logger().info("Champion of %s is version %s. %s", champion.name, decision.champion, decision.reason)
        show_overview()
    rows = [_row(version) for version in registry.versions(champion.name)]
    shown = table(list(rows[0]), [list(row.values()) for row in rows]) if rows else ""
    create_artifact("markdown", shown, f"Versions of {escape(champion.name)}")
    print_table(
        [(name, "left") for name in _PRINTED],
        [[row[name] for name in _PRINTED] for row in rows],
        title=champion.name,
        style="bold",
    )
    return rows


def _row(version: registry.ModelVersion) -> dict[str, str]:
    tags = version.tags
    return {
        "version": str(version.version),
        "alias": ", ".join(version.aliases),
        "val/auc": f"{float(tags[registry.VALIDATION_AUC]):.4f}",
        "threshold": tags.get("threshold", ""),
        "temperature": tags.get("temperature", ""),
        "dataset SHA-256": tags.get("dataset.sha256", ""),
        "MLflow run": version.run_id,
        "reason": tags.get(registry.REASON, ""),
    }


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(champion))
