"""MLflow's model registry: the versions of a classifier, and which of them is the champion.

A version holds the classifier twice: as an exported graph (pt2) for serving, and as safetensors with a card for
analysis. Nothing in it is pickled. The aliases `champion` and `previous` name the version in use and the one before it;
who gets them is decided elsewhere.

Two processes of one machine never register or decide at once: a lock file keeps one waiting.
"""

import json
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from models.errors import InputError
from models.text import printable
from tasks.records.base import RunReference, StoredFile
from tasks.storage.locations import locks, tracking_uri
from tasks.storage.store import DamagedFileError, Store
from tasks.tracking.runs import new_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, PREVIOUS = "champion", "previous"
PACKAGE, CARD = "analysis/classifier.safetensors", "analysis/card.json"  # below the folder of a version
_PACKAGE_SHA256, _VERSION = "package.sha256", "registry.version"  # tags of a version and of its run


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered classifier.

    Attributes:
        name: registered name, `pneumonia-classifier` for instance.
        version: its number, from 1.
        run_id: MLflow run that registered it.
        aliases: `champion`, `previous` or none.
        tags: what it is: digests, threshold, temperature, scores on validation, why it was promoted or not.
    """

    name: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


def registered_name(flag: str) -> str:
    """Name the registered model of a dataset: `pneumonia-classifier` for `pneumoniamnist`, else `<flag>-classifier`."""
    return f"{'pneumonia' if flag == 'pneumoniamnist' else flag}-classifier"


def register(run: RunReference, name: str, package: StoredFile) -> ModelVersion:
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

    Returns:
        The version, new or not.
    """
    client = new_client()
    with lock(name):
        found = _same_package(client, name, package) or _register(client, run, name, package)
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
    aliases = _aliases(client, name)
    return sorted((_version(entry, aliases) for entry in found), key=lambda found: -found.version)


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
        with tempfile.TemporaryDirectory() as folder:
            path = download_artifacts(f"{location}/{PACKAGE}", dst_path=folder, tracking_uri=tracking_uri())
            stored = Store().put(Path(path).read_bytes(), "application/x-safetensors")
    except (MlflowException, OSError) as error:
        raise DamagedFileError(printable(error)) from error
    if stored.sha256 != version.tags[_PACKAGE_SHA256]:
        raise DamagedFileError(f"{location}/{PACKAGE} does not have the digest in the version's tag.")
    return stored


def lock(name: str) -> FileLock:
    """Return the lock for whoever changes the versions of a registered model."""
    locks().mkdir(parents=True, exist_ok=True)
    return FileLock(locks() / f"registry-{name}.lock")


def set_tag(version: ModelVersion, tag: str, value: str) -> None:
    """Say something of a version in a tag, replacing one of the same name."""
    new_client().set_model_version_tag(version.name, str(version.version), tag, value)


def set_alias(version: ModelVersion, alias: str) -> None:
    """Give an alias to a version, and take it from the one that has it."""
    new_client().set_registered_model_alias(version.name, alias, str(version.version))


def _register(client: "MlflowClient", run: RunReference, name: str, package: StoredFile) -> ModelVersion:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    payload = Store().get(package)
    experiment = client.get_run(run.run_id).info.experiment_id
    model = client.create_logged_model(experiment, name="classifier", source_run_id=run.run_id)
    status = LoggedModelStatus.FAILED
    try:
        with tempfile.TemporaryDirectory() as folder:
            card = _write(Path(folder, "model"), payload, run, model.model_id)
            client.log_model_artifacts(model.model_id, str(Path(folder, "model")))
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(model.model_id, status)
    client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=card["intended_use"])
    tags = _tags(card, package)
    entry = client.create_model_version(
        name,
        source=model.artifact_location,  # for `models:/…` MLflow asks its global tracking URI, which may be another
        run_id=run.run_id,
        tags=tags,
        description=card["intended_use"],
        model_id=model.model_id,
    )
    links = json.dumps([{"name": name, "version": str(entry.version)}])
    client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: links})  # by which MLflow's pages link them
    return ModelVersion(name, int(entry.version), run.run_id, (), tags)


def _write(folder: Path, payload: bytes, run: RunReference, model_id: str) -> dict[str, Any]:
    """Write an MLflow model of both forms into a folder, without touching MLflow's active run.

    Returns:
        The card.
    """
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from models.classifier import weights
    from models.classifier.preprocessing import Normalization
    from models.classifier.serving import ServedClassifier

    model, card = weights.load(payload)
    shape = (card["image_size"], card["image_size"], *([] if card["channels"] == 1 else [card["channels"]]))
    signature = ModelSignature(  # not uint8, to which the scoring server would cut .5 and 300 without a word
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, card["classes"]))]),
    )
    described = Model(run_id=run.run_id, model_uuid=model_id, model_id=model_id)
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


def _tags(card: Mapping[str, Any], package: StoredFile) -> dict[str, str]:
    values = {
        _PACKAGE_SHA256: package.sha256,
        "weights.sha256": card["weights_sha256"],
        "dataset.name": card["dataset"],
        "dataset.sha256": card["dataset_sha256"],
        "temperature": card["temperature"],
        "threshold": card["threshold"],
        "licence": card["licence"],
        "intended_use": card["intended_use"],
        "phantoms": card["phantoms"],
        "limited": card["limited"],
    }
    values |= {f"val/{name}": value for name, value in card["validation"].items()}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _same_package(client: "MlflowClient", name: str, package: StoredFile) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' and tags.`{_PACKAGE_SHA256}` = '{package.sha256}'")
    return _version(found[0], _aliases(client, name)) if found else None


def _aliases(client: "MlflowClient", name: str) -> Mapping[str, str]:
    return dict(client.get_registered_model(name).aliases)


def _version(entry: Any, aliases: Mapping[str, str]) -> ModelVersion:
    mine = tuple(sorted(alias for alias, version in aliases.items() if int(version) == int(entry.version)))
    return ModelVersion(entry.name, int(entry.version), entry.run_id, mine, dict(entry.tags))
