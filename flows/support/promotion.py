"""Which registered classifier is the champion: decided by a run, or by hand.

The champion is what services and searches use. The one before it keeps the alias `previous`, and every decision says
why in a tag of the versions and of the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prefect.logging import get_run_logger

from models.errors import InputError
from models.text import printable
from tasks.execution import events
from tasks.records.base import RunReference, StoredFile
from tasks.records.classification import ComparisonRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import DamagedFileError
from tasks.tracking import registry, runs
from tasks.tracking.registry import CHAMPION, PREVIOUS, REASON, ModelVersion

_WITHDRAWN = "promotion.withdrawn"


@dataclass(frozen=True)
class Decision:
    """Who is champion, and why.

    Attributes:
        promoted: whether the alias moved.
        champion: the version that is champion now, or None.
        reason: why, in words.
    """

    promoted: bool
    champion: int | None
    reason: str


def challenge(
    run: RunReference,
    dataset: DatasetRecord,
    package: StoredFile,
    log_loss: float,
    compare: Callable[[StoredFile], ComparisonRecord],
    beside: Mapping[str, StoredFile],
    card_page: str,
) -> str:
    """Register a classifier, unless it was a trial, and make it the champion if it deserves it.

    Args:
        run: the run that trained it.
        dataset: what it was trained on.
        package: the classifier, for `registry.register`.
        log_loss: class-balanced, on validation.
        compare: compares it with a champion, whose package it is given.
        beside: other files of a version, by their paths in it.
        card_page: address of the model card in MLflow's pages.

    Returns:
        What became of it, and why.
    """
    if dataset.trial is not None:
        reason = f"Not registered, since it is a trial: {dataset.trial}."
        runs.log_tags(run, {REASON: reason})
        get_run_logger().info(reason)
        return reason
    name = registry.registered_name(dataset.name)

    def judge(champion: StoredFile) -> tuple[bool, str]:
        found = compare(champion)
        events.classifier_compared(name, found.auc, found.champion_auc)
        return found.promoted, found.reason

    version = registry.register(run, name, package, log_loss, beside, card_page)
    decision = promote(run, version, judge)
    if decision.promoted:
        events.champion_changed(name, version.version, decision.reason)
    get_run_logger().info("%s version %d: %s", name, version.version, decision.reason)
    stands = "champion" if decision.champion == version.version else "not champion"
    return f"{name} version {version.version} is {stands}. {decision.reason}"


def promote(run: RunReference, challenger: ModelVersion, judge: Callable[[StoredFile], tuple[bool, str]]) -> Decision:
    """Make a version the champion if it is the first, or better than the champion on the same validation split.

    Args:
        run: the run of the challenger.
        challenger: the version.
        judge: tells from the champion's package whether the challenger is better, and why.

    Returns:
        The decision.
    """
    with registry.lock(challenger.name):
        known = registry.versions(challenger.name)
        champion = _champion(known)
        if champion is not None and champion.version == challenger.version:
            decision = Decision(False, champion.version, f"Version {champion.version} is the champion already.")
        else:
            promoted, reason = _decide(challenger, champion, judge)
            if promoted:
                _crown(challenger, champion, reason)
                champion = challenger
            else:
                registry.set_tag(challenger, REASON, reason)
            decision = Decision(promoted, champion.version if champion else None, reason)
        if champion is not None:
            registry.mark_champion(champion, known)
    runs.log_tags(run, {REASON: decision.reason})
    return decision


def restore(name: str, wanted: str, reason: str) -> Decision:
    """Make a version the champion by hand; the champion so far becomes `previous`.

    Args:
        name: registered name.
        wanted: number of the version, or an alias of it.
        reason: why, for the tag.

    Returns:
        The decision.

    Raises:
        InputError: there is no such version, or it was trained on phantoms.
    """
    with registry.lock(name):
        known = registry.versions(name)
        chosen = next((found for found in known if wanted == str(found.version) or wanted in found.aliases), None)
        if chosen is None:
            raise InputError(
                f"{printable(name)} has no version '{printable(wanted, 40)}'; choose one of: "
                f"{printable(', '.join(str(found.version) for found in known))}."
            )
        if chosen.tags.get("phantoms") == "true":
            raise InputError(
                f"Version {chosen.version} of {name} was trained on drawn phantoms, so it cannot be champion; choose a "
                "version that was trained on images."
            )
        champion = _champion(known)
        if chosen == champion:
            return Decision(False, chosen.version, f"Version {chosen.version} is the champion already.")
        if champion is not None:  # else the next run that reproduces it would make it champion again
            registry.set_tag(champion, _WITHDRAWN, "true")
        registry.set_tag(chosen, _WITHDRAWN, "false")
        _crown(chosen, champion, f"Set by hand: {reason}")
        registry.mark_champion(chosen, known)
    return Decision(True, chosen.version, f"Set by hand: {reason}")


def choose(name: str, wanted: str) -> tuple[ModelVersion, StoredFile]:
    """Find a registered version and bring its package into the store.

    Args:
        name: registered name.
        wanted: `champion`, or the id of the MLflow run that registered the version.

    Returns:
        The version and its package, as `registry.register` was given it.

    Raises:
        InputError: nothing is registered, there is no champion, there is no such run or it registered none, or the
            package is damaged.
    """
    known = registry.versions(name)
    found = _champion(known) if wanted == CHAMPION else registry.version_of_run(name, wanted)
    if found is None:
        raise InputError(
            f"No version of {name} is its champion yet; name an MLflow run, or promote a version."
            if wanted == CHAMPION
            else f"The MLflow run {wanted} registered no version of {name}; name a classification run that did."
        )
    try:
        return found, registry.read_package(found)
    except DamagedFileError as error:
        raise InputError(
            f"Version {found.version} of {name} cannot be read from MLflow ({printable(error)}): choose another "
            "version, or train again."
        ) from error


def _champion(known: list[ModelVersion]) -> ModelVersion | None:
    return next((version for version in known if CHAMPION in version.aliases), None)


def _file(version: ModelVersion) -> str:
    """Digest of the file that the version was chosen on: corrected training labels leave its validation as it is."""
    return version.tags.get("source.sha256", version.tags["dataset.sha256"])


def _decide(
    challenger: ModelVersion, champion: ModelVersion | None, judge: Callable[[StoredFile], tuple[bool, str]]
) -> tuple[bool, str]:
    if challenger.tags["phantoms"] == "true":
        return False, "Trained on drawn phantoms, which never make a champion."
    if challenger.tags["limited"] == "true":
        return False, "Trained on a part of the data, for a try, which never makes a champion."
    if challenger.tags.get(_WITHDRAWN) == "true":
        return False, "Was champion and replaced by hand, so that only a hand makes it champion again."
    if champion is None:
        return True, "The first classifier that was registered."
    if "dataset.sha256" not in champion.tags:
        return False, f"Cannot be compared with the champion, version {champion.version}, whose model was deleted."
    if _file(challenger) != _file(champion):
        return False, (
            f"Cannot be compared with the champion, version {champion.version}, which was chosen on another dataset "
            f"file; to make it champion nevertheless: python -m flows.champion --champion.name {challenger.name} "
            f"--champion.version {challenger.version}"
        )
    try:
        return judge(registry.read_package(champion))
    except (DamagedFileError, InputError, OSError) as error:
        return False, f"Cannot be compared with the champion, version {champion.version}, which cannot be read: {error}"


def _crown(chosen: ModelVersion, champion: ModelVersion | None, reason: str) -> None:
    """Move the alias last, so that a run that is killed before leaves the champion where it was."""
    registry.set_tag(chosen, REASON, reason)
    if champion is not None:
        registry.set_tag(champion, REASON, f"Replaced by version {chosen.version}. {reason}")
        registry.set_alias(champion, PREVIOUS)
    registry.set_alias(chosen, CHAMPION)
