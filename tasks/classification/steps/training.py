"""Steps of the training, and what is checked before it."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from prefect.logging import get_run_logger
from tqdm import tqdm

from models.choices import PROBE
from models.classifier.epoch_metrics import EpochMetrics
from models.classifier.fitting_loss import check_loss
from models.errors import InputError
from tasks.classification.epoch_curves import epoch_points
from tasks.execution import progress
from tasks.execution.caching import current_key, step
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import RunReference
from tasks.records.classification import ClassifierRecord, PredictionsRecord, PretrainedRecord
from tasks.records.data import SEVERAL_LABELS, DatasetRecord
from tasks.records.retrieval import EncoderRecord
from tasks.storage.checkpoints import StoredCheckpoints
from tasks.storage.store import Store
from tasks.tracking.runs import log_points


def check_training(
    training: TrainingParameters, dataset: DatasetParameters, classes: int, train_images: int
) -> PretrainedRecord | EncoderRecord | None:
    """Refuse settings that make no training and find what it starts from, before any data is read.

    Args:
        training: the form.
        dataset: the form of the data.
        classes: number of classes of the dataset.
        train_images: number of images in its official training split.

    Returns:
        The weights to start from, or the encoder that a probe stands on; None for random weights.

    Raises:
        InputError: the settings do not fit each other or the dataset, or the weights cannot be found.
    """
    if training.architecture == PROBE:
        from tasks.shared.published_encoders import locate_published, own_device

        return locate_published(training.encoder, training.pretrained, own_device())
    several = dataset.name in SEVERAL_LABELS
    check_loss(training.loss, classes, focal_alpha=training.focal_alpha, several=several)
    images = min(train_images, dataset.limit or train_images)
    if dataset.path is None and training.batch_size > images:
        larger = "" if dataset.limit is None else ", or a larger --dataset.limit"
        raise InputError(
            f"--training.batch_size {training.batch_size} is larger than the training split of {images} images: "
            f"expected at most one batch of all of them; choose a smaller one{larger}."
        )
    if training.pretrained is None:
        return None
    from models.classifier.pretrained import find_weights

    path = find_weights(training.pretrained, training.architecture)
    return PretrainedRecord(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), path=str(path.resolve()))


@step
def train_classifier(
    dataset: DatasetRecord,
    training: TrainingParameters,
    pretrained: PretrainedRecord | None,
    run: RunReference,
    bars: tuple[float | None, ...] = (),
) -> ClassifierRecord:
    """Train, going on from the last checkpoint of the same job, and keep the weights of the best epoch.

    With `bars`, one an epoch, a training whose lowest validation loss is above that of its epoch is pruned.
    """
    from models.classifier.preprocessing import Normalization
    from models.classifier.training import train
    from tasks.classification.classifier_file import trained_file

    store, classes = Store(), len(dataset.labels)
    arrays = store.get_arrays(dataset.splits)
    images, labels = (
        np.delete(arrays[f"train_{kind}"], dataset.excluded_train, axis=0) for kind in ("images", "labels")
    )
    normalization = Normalization.from_images(images)
    settings = training.model_copy(update={"pretrained": None if pretrained is None else pretrained.path})
    checkpoints = StoredCheckpoints(store, current_key())
    splits = images, labels, arrays["val_images"], arrays["val_labels"]
    with _epochs_told(run, settings.epochs) as tell:
        result = train(
            *splits, normalization, settings, classes=classes, checkpoints=checkpoints, on_epoch=tell, bars=bars
        )
    if result.stopped_early:
        get_run_logger().info("the training ended early, %d epochs after the best one", settings.patience)
    content = trained_file(result.weights, normalization, dataset, training, pretrained, result.best_epoch)
    stored = store.put(content, "application/x-safetensors")
    checkpoints.clear()
    return ClassifierRecord(
        architecture=training.architecture,
        weights=stored,
        best_epoch=result.best_epoch,
        dataset_sha256=dataset.sha256,
        history=tuple(result.history),
        seconds=sum(epoch.seconds for epoch in result.history),
        run_id=run.run_id,
        seed=training.seed,
        pruned=result.pruned,
    )


@step
def predict_classifier(dataset: DatasetRecord, classifier: ClassifierRecord) -> PredictionsRecord:
    """Compute the logits of validation and test, and the embeddings of all splits."""
    from models.classifier.prediction import predict
    from tasks.classification.classifier_file import load_classifier

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    model, normalization, _ = load_classifier(store.get(classifier.weights))
    train_images = np.delete(arrays["train_images"], dataset.excluded_train, axis=0)
    outputs = {"train_embeddings": predict(model, train_images, normalization).embeddings}
    for split in ("val", "test"):
        prediction = predict(model, arrays[f"{split}_images"], normalization)
        outputs[f"{split}_logits"] = prediction.logits
        outputs[f"{split}_embeddings"] = prediction.embeddings
        outputs[f"{split}_labels"] = arrays[f"{split}_labels"]
    return PredictionsRecord(
        outputs=store.put_arrays(outputs), classifier_sha256=classifier.weights.sha256, classifier=classifier.title
    )


@contextlib.contextmanager
def _epochs_told(run: RunReference, epochs: int) -> Iterator[Callable[[EpochMetrics], None]]:
    """Give what tells of each epoch: on the run's page and a progress bar, in the log and in the tracker."""
    logger, told = get_run_logger(), 0
    with progress.shown("training, epochs", epochs) as shown:

        def tell(epoch: EpochMetrics) -> None:
            nonlocal told
            scores = f"validation AUC {epoch.val_auc:.4f}, loss {epoch.val_loss:.4f}"
            progress.advance(shown, epoch.epoch - told, scores)
            told = epoch.epoch
            log_points(run, epoch_points([epoch]))
            with tqdm.external_write_mode():  # the line goes above the bar
                logger.info("epoch %d of %d: %s, %.1f s", epoch.epoch, epochs, scores, epoch.seconds)

        yield tell
