"""MLflow's model registry: the versions of a classifier, and which of them is the champion.

A version holds the classifier twice: as an exported graph (pt2) for others, and as safetensors with a card, which alone
is read here, since PyTorch unpickles parts of a graph that it loads; beside them lie what its run made for it: an ONNX
graph, a model card and a data card. A probe is held once, without a graph, which would hold the weights of its encoder:
those stay where their licence has them, and whoever serves the probe reads them there. The aliases `champion` and
`previous` name the version in use and the one before it; who gets them is decided elsewhere.

MLflow lists a version with all its tags, so it carries only those in `SHOWN`, which a person compares. What programs
read beside them (digests, threshold, temperature) are tags of the version's model, and all that there is to say stands
in its card and its description. A version that was registered before this holds everything in its own tags.

Two processes of one machine never register or decide at once: a lock file keeps one waiting.
"""

import contextlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from models.errors import InputError
from models.markdown import escape
from models.text import printable
from tasks.records.base import RunReference, StoredFile
from tasks.storage.locations import locks, outputs, tracking_uri
from tasks.storage.store import DamagedFileError, Store
from tasks.storage.temporary_files import temporary_folder
from tasks.tracking.runs import new_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

CHAMPION, PREVIOUS = "champion", "previous"
PACKAGE, CARD = "analysis/classifier.safetensors", "analysis/card.json"  # below the folder of a version
VALIDATION_AUC, VALIDATION_LOG_LOSS, DATASET, SEED = "val/auc", "val/log_loss", "dataset.name", "seed"
REASON, CHAMPION_SINCE = "promotion.reason", "champion.since"
SHOWN = (VALIDATION_AUC, VALIDATION_LOG_LOSS, DATASET, SEED, REASON, CHAMPION_SINCE)
"""The tags of a version, which its page and the list of versions show."""
_PACKAGE_SHA256, _NAME = "package.sha256", "registry.name"  # tags of the model of a version
_VERSION, _CROWN = "registry.version", "champion"  # tags of its run


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered classifier.

    Attributes:
        name: registered name, `pneumonia-classifier` for instance.
        version: its number, from 1.
        run_id: MLflow run that registered it.
        aliases: `champion`, `previous` or none.
        tags: what it is: digests, threshold, temperature, scores on validation, why it was promoted or not. Those of
            its model are among them; where that was deleted, only those in `SHOWN`.
        model_id: the model that holds its files; None where that was deleted.
    """

    name: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    model_id: str | None = None


def registered_name(flag: str) -> str:
    """Name the registered model of a dataset: `pneumonia-classifier` for `pneumoniamnist`, else `<flag>-classifier`."""
    return f"{'pneumonia' if flag == 'pneumoniamnist' else flag}-classifier"


def register(
    run: RunReference,
    name: str,
    package: StoredFile,
    log_loss: float | None = None,
    beside: Mapping[str, StoredFile] | None = None,
    card_page: str = "",
) -> ModelVersion:
    """Log a classifier for serving and for analysis and register it, unless the very same is registered already.

    The same is what has the same package: weights, preprocessing, temperature and threshold. So neither a retry nor
    a run whose steps were all cached adds a version.

    Args:
        run: the run that the version belongs to.
        name: registered name.
        package: safetensors of `models.classifier.weights`, whose card holds beside what is needed to build the
            network: `labels`, `normalization`, `image_size`, `dataset` (flag), `dataset_sha256`, `weights_sha256`,
            `licence`, `intended_use`, `temperature`, `threshold` (None for more than two classes), `validation` (scores
            by name), `phantoms` and `limited` (whether it was trained on a part of the data, for a try).
        log_loss: class-balanced, on validation, by which a champion is chosen.
        beside: other files of the version, by their paths in it: model card, data card, ONNX graph.
        card_page: address of the model card in MLflow's pages, for the description of the version.

    Returns:
        The version, new or not.
    """
    client = new_client()
    with lock(name):
        found = _same_package(client, name, package)
        if found is None:
            found = _register(client, run, name, package, log_loss, beside or {}, card_page)
    client.set_tag(run.run_id, _VERSION, f"{name}/{found.version}")
    return found


def versions(name: str) -> list[ModelVersion]:
    """List the versions of a registered model, newest first.

    Raises:
        InputError: there is no model of this name.
    """
    client = new_client()
    found = client.search_model_versions(f"name = '{name}'")
    if not found:
        known = ", ".join(sorted(model.name for model in client.search_registered_models())) or "none"
        raise InputError(
            f"No classifier is registered as '{printable(name)}' (registered: {printable(known)}); train one, or name "
            "another."
        )
    aliases, models = _aliases(client, name), _models(client, name)
    return sorted((_version(entry, aliases, models) for entry in found), key=lambda found: -found.version)


def version_of_run(name: str, run_id: str) -> ModelVersion | None:
    """Find the version that a run registered.

    Returns:
        The version; None where the run registered none of this name.

    Raises:
        InputError: there is no such run.
    """
    from mlflow.exceptions import MlflowException

    try:
        registered = new_client().get_run(run_id).data.tags.get(_VERSION, "")
    except MlflowException as error:
        raise InputError(
            f"There is no MLflow run '{printable(run_id)}': expected `train`, `champion`, or the id of a "
            "classification run, as its page in MLflow shows it."
        ) from error
    return next((version for version in versions(name) if f"{name}/{version.version}" == registered), None)


def read_package(version: ModelVersion) -> StoredFile:
    """Bring the package of a version, as `register` was given it, into the store.

    Raises:
        DamagedFileError: it is damaged, or cannot be read now.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        location = new_client().get_model_version_download_uri(version.name, str(version.version))
        with temporary_folder(outputs()) as folder:
            path = download_artifacts(f"{location}/{PACKAGE}", dst_path=str(folder), tracking_uri=tracking_uri())
            stored = Store().put(Path(path).read_bytes(), "application/x-safetensors")
    except (MlflowException, OSError) as error:
        raise DamagedFileError(printable(error)) from error
    if stored.sha256 != version.tags.get(_PACKAGE_SHA256):
        raise DamagedFileError(f"{location}/{PACKAGE} does not have the digest in the version's tag.")
    return stored


def lock(name: str) -> FileLock:
    """Return the lock for whoever changes the versions of a registered model."""
    locks().mkdir(parents=True, exist_ok=True)
    return FileLock(locks() / f"registry-{name}.lock")


def set_tag(version: ModelVersion, tag: str, value: str) -> None:
    """Say something of a version in a tag, replacing one of the same name: its own if `SHOWN`, else its model's."""
    if tag in SHOWN or version.model_id is None:
        new_client().set_model_version_tag(version.name, str(version.version), tag, value)
    else:
        new_client().set_logged_model_tags(version.model_id, {tag: value})


def set_alias(version: ModelVersion, alias: str) -> None:
    """Give an alias to a version, and take it from the one that has it."""
    new_client().set_registered_model_alias(version.name, alias, str(version.version))


def mark_champion(champion: ModelVersion, others: Sequence[ModelVersion]) -> None:
    """Let the version and its run say that it is the champion, for lists that can show no alias; it may say so already.

    Args:
        champion: the version.
        others: those of which one may have been the champion before.
    """
    client = new_client()
    for other in others:
        if CHAMPION_SINCE in other.tags and other.version != champion.version:
            client.delete_model_version_tag(other.name, str(other.version), CHAMPION_SINCE)
            _tag_run(client, other.run_id, _CROWN, None)
    if CHAMPION_SINCE not in champion.tags:
        set_tag(champion, CHAMPION_SINCE, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    _tag_run(client, champion.run_id, _CROWN, f"★ v{champion.version}")


def _tag_run(client: "MlflowClient", run_id: str, tag: str, value: str | None) -> None:
    """Set a tag of a run, or remove it; a run that a person has deleted has none to show."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):
        if value is not None:
            client.set_tag(run_id, tag, value)
        elif tag in client.get_run(run_id).data.tags:
            client.delete_tag(run_id, tag)


def _register(
    client: "MlflowClient",
    run: RunReference,
    name: str,
    package: StoredFile,
    log_loss: float | None,
    beside: Mapping[str, StoredFile],
    card_page: str,
) -> ModelVersion:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    payload = Store().get(package)
    experiment = client.get_run(run.run_id).info.experiment_id
    model = client.create_logged_model(experiment, name="classifier", source_run_id=run.run_id)
    status = LoggedModelStatus.FAILED
    try:
        with temporary_folder(outputs()) as folder:
            card = _write(folder / "model", payload, run, model.model_id)
            for path, stored in beside.items():
                file = folder / "model" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(Store().get(stored))
            client.log_model_artifacts(model.model_id, str(folder / "model"))
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(model.model_id, status)
    client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=card["intended_use"])
    facts = _facts(card, package) | {_NAME: name}
    client.set_logged_model_tags(model.model_id, facts)  # before the version, which nobody could judge without them
    shown = _shown(card, log_loss)
    entry = client.create_model_version(
        name,
        source=model.artifact_location,  # for `models:/…` MLflow asks its global tracking URI, which may be another
        run_id=run.run_id,
        tags=shown,
        description=_description(card, package, card_page),
        model_id=model.model_id,
    )
    links = json.dumps([{"name": name, "version": str(entry.version)}])
    client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: links})  # by which MLflow's pages link them
    return ModelVersion(name, int(entry.version), run.run_id, (), shown | facts, model.model_id)


def _write(folder: Path, payload: bytes, run: RunReference, model_id: str) -> dict[str, Any]:
    """Write an MLflow model of both forms into a folder, without touching MLflow's active run.

    Returns:
        The card.
    """
    import mlflow.pyfunc
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from models.classifier import weights
    from models.classifier.preprocessing import Normalization
    from models.classifier.serving import ServedClassifier, ServedPackage

    model, card = weights.load(payload)
    shape = (card["image_size"], card["image_size"], *([] if card["channels"] == 1 else [card["channels"]]))
    signature = ModelSignature(  # not uint8, to which the scoring server would cut .5 and 300 without a word
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, card["classes"]))]),
    )
    described = Model(run_id=run.run_id, model_uuid=model_id, model_id=model_id)
    if model.frozen is None:
        mlflow.pytorch.save_model(
            ServedClassifier(model, Normalization(**card["normalization"]), card["temperature"]),
            folder,
            mlflow_model=described,
            serialization_format="pt2",
            signature=signature,
            input_example=np.zeros((2, *shape), np.float32),  # one image would freeze the size of the batch
            conda_env=_environment(),
            metadata=card,
        )
        # An exported graph stays on the device that it was exported on; MLflow would ask for a GPU where there is one.
        described.flavors["python_function"]["config"] = {"device": "cpu"}
    else:
        folder.mkdir()
        described.signature, described.metadata = signature, card
        mlflow.pyfunc.add_to_model(described, loader_module=ServedPackage.__module__, data=PACKAGE)
    described.save(str(folder / "MLmodel"))
    (folder / PACKAGE).parent.mkdir()
    (folder / PACKAGE).write_bytes(payload)
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True))
    return card


def _environment() -> dict[str, Any]:
    """Name what serving needs; MLflow would infer it by loading the model in another process, which takes a minute."""
    import mlflow
    import numpy as np
    import torch

    libraries = {"mlflow": mlflow.__version__, "numpy": np.__version__, "torch": torch.__version__.partition("+")[0]}
    pinned = [f"{library}=={version}" for library, version in libraries.items()]
    return {
        "channels": ["conda-forge"],
        "dependencies": [f"python={platform.python_version()}", "pip", {"pip": pinned}],
    }


def _shown(card: Mapping[str, Any], log_loss: float | None) -> dict[str, str]:
    """Tags of a version as it is registered, which a person compares."""
    numbers = {VALIDATION_AUC: card["validation"].get("auc"), VALIDATION_LOG_LOSS: log_loss}
    tags = {name: f"{value:.4f}" for name, value in numbers.items() if value is not None}
    seed = card.get("training", {}).get("seed")
    return tags | {DATASET: card["dataset"]} | ({} if seed is None else {SEED: str(seed)})


def _facts(card: Mapping[str, Any], package: StoredFile) -> dict[str, str]:
    """Tags of a version's model: what programs read of it, without its files."""
    values = {
        _PACKAGE_SHA256: package.sha256,
        "weights.sha256": card["weights_sha256"],
        "dataset.sha256": card["dataset_sha256"],
        "source.sha256": card.get("source_sha256") or card["dataset_sha256"],
        "temperature": card["temperature"],
        "threshold": card["threshold"],
        "phantoms": card["phantoms"],
        "limited": card["limited"],
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _description(card: Mapping[str, Any], package: StoredFile, card_page: str) -> str:
    """Write the card of a version as Markdown, which its page shows."""
    scores = card["validation"]
    rows = [
        (name, value, scores.get(f"{name}_ci_low"), scores.get(f"{name}_ci_high"))
        for name, value in scores.items()
        if not name.endswith(("_ci_low", "_ci_high"))
    ]
    said = {
        "architecture": card["architecture"],
        "dataset": f"{card['dataset']}, SHA-256 {card['dataset_sha256']}",
        "threshold": "none: more than two classes" if card["threshold"] is None else f"{card['threshold']:.4f}",
        "temperature": f"{card['temperature']:.4f}",
        "data": "drawn phantoms" if card["phantoms"] else "a part, for a try" if card["limited"] else "whole",
        **({"corrected labels": card["corrected_labels"]} if card.get("corrected_labels") else {}),
        "licence of the data": card["licence"],
        "weights": f"SHA-256 {card['weights_sha256']}",
        **_encoder(card),
        "package": f"SHA-256 {package.sha256}, {PACKAGE} and {CARD} in the artifacts",
    }
    validation = [
        (name, f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} – {high:.3f})")
        for name, value, low, high in rows
    ]
    # One cell for a value and its interval, since MLflow leaves no room between columns.
    tables = (_table(("card", ""), said.items()), _table(("on validation", "value, 95 % interval"), validation))
    leads = [f"[Model card]({card_page}): uses, limits, every figure, how to load it."] if card_page else []
    return "\n\n".join((escape(card["intended_use"]), *leads, *tables))


def _encoder(card: Mapping[str, Any]) -> dict[str, str]:
    """Say which encoder a probe stands on."""
    if (told := card.get("encoder")) is None:
        return {}
    where = f"{told['name']}, {told['model']}@{told['revision']}" + ", RANDOM WEIGHTS" * told["random_weights"]
    return {"encoder": f"{where}, licence: {told['licence'] or 'unknown'}"}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (header, ["---"] * len(header), *([escape(cell) for cell in row] for row in rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _same_package(client: "MlflowClient", name: str, package: StoredFile) -> ModelVersion | None:
    models = _models(client, name)
    for entry in client.search_model_versions(f"name = '{name}'"):
        version = _version(entry, {}, models)
        if version.tags.get(_PACKAGE_SHA256) == package.sha256:
            return _version(entry, _aliases(client, name), models)
    return None


def _models(client: "MlflowClient", name: str) -> dict[str, "LoggedModel"]:
    """Find the models of a registered model's versions by where their files are, which is what a version names."""
    from mlflow.entities import ViewType

    experiments = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    found: dict[str, LoggedModel] = {}
    token = None
    while True:
        page = client.search_logged_models(experiments, f"tags.`{_NAME}` = '{name}'", page_token=token)
        found |= {str(model.artifact_location): model for model in page}
        token = page.token
        if not token:
            return found


def _aliases(client: "MlflowClient", name: str) -> Mapping[str, str]:
    return dict(client.get_registered_model(name).aliases)


def _version(entry: Any, aliases: Mapping[str, str], models: Mapping[str, "LoggedModel"]) -> ModelVersion:
    mine = tuple(sorted(alias for alias, version in aliases.items() if int(version) == int(entry.version)))
    model = models.get(entry.source)
    facts = {} if model is None else {tag: value for tag, value in model.tags.items() if not tag.startswith("mlflow.")}
    tags = dict(entry.tags) | facts
    model_id = None if model is None else str(model.model_id)
    return ModelVersion(entry.name, int(entry.version), entry.run_id, mine, tags, model_id)
