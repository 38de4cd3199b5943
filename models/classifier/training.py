"""Training of a classifier, with its split in memory; it can be interrupted after any epoch and resumed."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from models.choices import Device
from models.classifier.augmentation import mixup, views
from models.classifier.classifiers import build_classifier
from models.classifier.device import computes_in_bf16, resolve_device
from models.classifier.epoch_metrics import EpochMetrics
from models.classifier.losses import (
    Loss,
    balanced_class_weights,
    balanced_label_weights,
    bce,
    build_loss,
    cross_entropy,
)
from models.classifier.preprocessing import Normalization, to_tensor
from models.classifier.pretrained import find_weights
from models.classifier.schedules import learning_rate
from models.classifier.training_settings import TrainingSettings
from models.classifier.training_state import TrainingState, Weights
from models.determinism import repeatable_cudnn
from models.errors import InputError

logger = logging.getLogger(__name__)

EVALUATION_BATCH = 512


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training.

    Attributes:
        weights: state of the averaged network at the best epoch, on the CPU.
        history: one entry per epoch.
        best_epoch: number of the best epoch, from 1.
        stopped_early: whether the patience ran out before the last epoch.
        pruned: whether it was ended before the last epoch because it fell behind.
    """

    weights: Weights
    history: list[EpochMetrics]
    best_epoch: int
    stopped_early: bool
    pruned: bool


class Checkpoints(Protocol):
    """Where a training saves its state after every epoch."""

    def save(self, epoch: int, payload: bytes) -> None:
        """Save the state after an epoch; only the latest is loaded again."""
        ...

    def load(self) -> bytes | None:
        """Load the latest state, or None where there is none."""
        ...


def train(
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.integer],
    val_images: NDArray[np.uint8],
    val_labels: NDArray[np.integer],
    normalization: Normalization,
    settings: TrainingSettings,
    *,
    classes: int = 2,
    device: Device = "auto",
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    bars: Sequence[float | None] = (),
) -> TrainingResult:
    """Train a classifier, or resume a training that was interrupted.

    The order of the images and their augmentation come from a generator seeded by the seed and the epoch, and the
    learning rate is a function of the step; so a training that resumes from a checkpoint ends, on the same machine,
    with the same bits as one that was never interrupted.

    The best epoch is the one whose averaged weights have the lowest class-balanced log-loss on validation. The AUC
    saturates there, and an unweighted criterion would follow the prevalence of validation, which is not that of test.

    Args:
        train_images: shape (images, height, width) or (images, height, width, 3), 0–255, without the images that
            validation also holds.
        train_labels: 0 … classes - 1, shape (images,); or of several labels an image 0 and 1, shape (images, classes).
        val_images: of the same shape but for the number of images, 0–255.
        val_labels: likewise.
        normalization: statistics of the training pixels.
        settings: how to train.
        classes: number of classes.
        device: where to compute; "auto" takes CUDA where there is one.
        checkpoints: where the state is saved after every epoch and loaded from at the start; None saves nothing. A
            state that is damaged, or of other settings or data, is ignored with a warning.
        on_epoch: called after every epoch, once its state is saved; not for epochs that a checkpoint already holds.
        bars: by epoch, what the lowest validation loss so far may not exceed, else the training is pruned before the
            next epoch; None, and after the last bar, it may be anything.

    Returns:
        The weights of the best epoch, and the history.

    Raises:
        InputError: the loss, the batch size, the pretrained weights or the labels do not fit, or the training diverged.
    """
    check_labels(classes, train_labels, val_labels)
    if settings.batch_size > len(train_labels):
        raise InputError(
            f"batch_size {settings.batch_size} is larger than the training split of {len(train_labels)} images; lower "
            "it, or take more images."
        )
    loss = build_loss(settings, train_labels, classes)
    place = resolve_device(device)
    pretrained = None if settings.pretrained is None else find_weights(settings.pretrained, settings.architecture)
    with repeatable_cudnn():
        targets = _targets(train_labels, classes)
        data = (train_images, targets.numpy(), val_images, val_labels)
        fingerprint = _fingerprint(settings, pretrained, normalization, *data)
        state = _new_state(settings, pretrained, normalization, classes, place)
        if checkpoints is not None and (payload := checkpoints.load()) is not None:
            restored = state.restore(payload, fingerprint)
            state = state if restored else _new_state(settings, pretrained, normalization, classes, place)

        trainer = _Trainer(settings, state, normalization, loss, train_images, targets, place)
        validation = to_tensor(val_images, normalization).to(place)
        while (
            len(state.history) < settings.epochs
            and not _out_of_patience(state, settings.patience)
            and not falls_behind(state.history, bars)
        ):
            started, epoch = time.perf_counter(), len(state.history) + 1
            train_loss, rate = trainer.train_epoch(epoch)
            logits = _average_logits(state, validation)
            if not logits.isfinite().all():
                raise InputError(
                    f"The training diverged in epoch {epoch} (its logits are not finite); lower learning_rate, which "
                    f"is {settings.learning_rate:g}."
                )
            val_loss, val_auc = validation_scores(logits, val_labels, classes)
            metrics = EpochMetrics(
                epoch, train_loss, val_loss, val_auc, rate, time.perf_counter() - started, time.time_ns() // 1_000_000
            )
            state.record(metrics)
            if checkpoints is not None:
                checkpoints.save(epoch, state.dump(fingerprint))
            if on_epoch is not None:
                on_epoch(metrics)
    unfinished = len(state.history) < settings.epochs
    stopped_early = unfinished and _out_of_patience(state, settings.patience)
    if stopped_early:
        logger.info("No better validation loss since epoch %d: the training ends early.", state.best_epoch)
    weights = {name: tensor.cpu().contiguous() for name, tensor in state.best.items()}
    return TrainingResult(weights, state.history, state.best_epoch, stopped_early, unfinished and not stopped_early)


def falls_behind(history: Sequence[EpochMetrics], bars: Sequence[float | None]) -> bool:
    """Tell whether the lowest validation loss so far is above the bar of the last epoch.

    Args:
        history: one entry per epoch.
        bars: by epoch; None sets none.
    """
    bar = bars[len(history) - 1] if 0 < len(history) <= len(bars) else None
    return bar is not None and min(epoch.val_loss for epoch in history) > bar


def validation_scores(logits: torch.Tensor, labels: NDArray[np.integer], classes: int) -> tuple[float, float]:
    """Compute what a choice on validation rests on, and the AUC beside it.

    Args:
        logits: float64, of class 1, shape (images,), or of each class, shape (images, classes).
        labels: 0 … classes - 1, shape (images,); or 0 and 1, shape (images, classes).
        classes: number of classes.

    Returns:
        The class-balanced log-loss, in nats, and the AUC, macro one-vs-rest as MedMNIST's evaluator; of several labels
        an image both are the means over the labels.
    """
    if labels.ndim == 2:
        balanced = tuple(each.double() for each in balanced_label_weights(labels))
        loss = bce(logits, torch.from_numpy(labels).double(), class_weights=balanced)
        return float(loss), float(roc_auc_score(labels, logits.numpy(), average="macro"))
    targets, weights = _targets(labels, classes).double(), balanced_class_weights(labels, classes)
    if classes == 2:
        return float(bce(logits, targets, class_weights=weights)), float(roc_auc_score(labels, logits.numpy()))
    auc = roc_auc_score(labels, logits.softmax(dim=1).numpy(), multi_class="ovr", average="macro")
    return float(cross_entropy(logits, targets, class_weights=weights)), float(auc)


class _Trainer:
    """A training split on its device, and the loop over it."""

    def __init__(
        self,
        settings: TrainingSettings,
        state: TrainingState,
        normalization: Normalization,
        loss: Loss,
        images: NDArray[np.uint8],
        targets: torch.Tensor,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.state = state
        self.normalization = normalization
        self.loss = loss
        pixels = torch.from_numpy(np.array(images))
        self.pixels = (pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).to(device)
        self.targets = targets.to(device)
        branch_logits = state.model.branch_logits
        self.branch_logits = torch.compile(branch_logits) if settings.compile else branch_logits
        self.bf16 = computes_in_bf16(settings.precision, device)

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Pass once over the split; return the mean loss and the last learning rate."""
        settings, device = self.settings, self.pixels.device
        generator = torch.Generator().manual_seed(_epoch_seed(settings.seed, epoch))
        order = torch.randperm(len(self.pixels), generator=generator).to(device)
        # A last batch of one image would break batch normalisation; a short one only adds noise: drop it.
        batches = len(order) // settings.batch_size
        rate, losses = 0.0, []
        self.state.model.train()
        for batch in range(batches):
            chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
            pixels = self.pixels[chosen].float() / 255
            images = views(pixels, settings.augmentation, self.state.model.branches, generator)
            targets = self.targets[chosen]
            if settings.mixup > 0:
                images, targets = mixup(images, targets, settings.mixup, generator)
            images = self.normalization.apply(images.unflatten(1, (-1, pixels.shape[1]))).flatten(1, 2)
            images = images.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                logits = self.branch_logits(images)
            loss = torch.stack([self.loss(branch, targets) for branch in logits.float()]).mean()
            step = (epoch - 1) * batches + batch
            rate = learning_rate(settings.schedule, step, settings.epochs * batches, settings.learning_rate)
            self.state.step(loss, rate)
            losses.append(loss.detach())  # no .item(): it would wait for the GPU at every step
        return float(torch.stack(losses).mean()), rate


def _new_state(
    settings: TrainingSettings,
    pretrained: Path | None,
    normalization: Normalization,
    classes: int,
    device: torch.device,
) -> TrainingState:
    model = build_classifier(
        settings.architecture,
        classes=classes,
        channels=len(normalization.mean),
        seed=settings.seed,
        pretrained=pretrained,
    )
    # Channels last is the layout in which convolutions are fastest, on a GPU above all.
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingState(model, weight_decay=settings.weight_decay, ema_decay=settings.ema_decay)


def check_labels(classes: int, train_labels: NDArray[np.integer], val_labels: NDArray[np.integer]) -> None:
    """Refuse splits that lack a class.

    Args:
        classes: number of classes.
        train_labels: 0 … classes - 1, shape (images,); or 0 and 1, shape (images, classes).
        val_labels: the same of validation.

    Raises:
        InputError: a class is missing, or there is another label.
    """
    if train_labels.ndim == 2:
        for column in range(classes):
            check_labels(2, train_labels[:, column], val_labels[:, column])
        return
    for name, labels in (("training", train_labels), ("validation", val_labels)):
        found = set(np.unique(labels).tolist())
        if found != set(range(classes)):
            raise InputError(
                f"The {name} labels are {sorted(found)}, but every class from 0 to {classes - 1} is needed, and no "
                "other; use a split with all classes."
            )


def _targets(labels: NDArray[np.integer], classes: int) -> torch.Tensor:
    """Turn labels into probabilities, as the losses take them."""
    hard = torch.from_numpy(labels.astype(np.int64))
    return hard.float() if classes == 2 or hard.ndim == 2 else F.one_hot(hard, classes).float()


@torch.inference_mode()
def _average_logits(state: TrainingState, images: torch.Tensor) -> torch.Tensor:
    state.average.eval()
    return torch.cat([state.average(batch) for batch in images.split(EVALUATION_BATCH)]).double().cpu()


def _out_of_patience(state: TrainingState, patience: int | None) -> bool:
    return patience is not None and len(state.history) - state.best_epoch >= patience


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)


def _fingerprint(
    settings: TrainingSettings, pretrained: Path | None, normalization: Normalization, *arrays: NDArray
) -> str:
    fields = settings.model_dump()
    if pretrained is not None:  # what the file holds counts, not where it lies
        fields["pretrained"] = hashlib.sha256(pretrained.read_bytes()).hexdigest()
    digest = hashlib.sha256(json.dumps([fields, asdict(normalization)], sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
