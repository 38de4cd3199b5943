"""Training of a classifier that holds its split in memory and can be interrupted after any epoch."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Literal, Protocol

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from sklearn.metrics import roc_auc_score
from torch.optim.swa_utils import AveragedModel

from models.augmentation import Augmentation
from models.classifiers import Architecture, build_classifier
from models.errors import InputError
from models.losses import LossName, balanced_class_weights, bce, build_loss
from models.preprocessing import Normalization, to_tensor
from models.safetensors_metadata import read_metadata

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Weights = dict[str, torch.Tensor]
Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]

WARM_UP = 0.3  # share of the steps in which the learning rate rises
EVALUATION_BATCH = 512


@dataclass(frozen=True)
class TrainingSettings:
    """What decides the weights, beside the data.

    Attributes:
        architecture: the network.
        epochs: passes over the training split.
        batch_size: images a step.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: decoupled weight decay of AdamW.
        loss: the loss.
        label_smoothing: share of the target that moves to one half, in the two cross-entropies.
        ema_decay: decay a step of the moving average of the weights, which is what is validated and returned.
        augmentation: strengths of the random variation.
        seed: seed of the initial weights, the order of the images and their variation.
        device: "auto" takes CUDA where there is one.
    """

    architecture: Architecture = "resnet18_gray"
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    loss: LossName = "balanced_bce"
    label_smoothing: float = 0.05
    ema_decay: float = 0.995
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    device: Device = "auto"


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch did.

    Attributes:
        epoch: number, from 1.
        train_loss: mean of the training loss over the epoch's steps, on varied images and the raw weights.
        val_loss: class-balanced log-loss of the averaged weights on validation; the best epoch is the one with the
            lowest.
        val_auc: area under the ROC curve of the averaged weights on validation.
        learning_rate: that of the last step.
        seconds: duration of the epoch with its validation.
        finished_at: Unix time in milliseconds.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float
    learning_rate: float
    seconds: float
    finished_at: int


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training.

    Attributes:
        weights: state of the averaged network at the best epoch, on the CPU.
        history: one entry an epoch.
        best_epoch: number of the best epoch, from 1.
    """

    weights: Weights
    history: list[EpochMetrics]
    best_epoch: int


class Checkpoints(Protocol):
    """Where a training leaves its state after every epoch."""

    def save(self, epoch: int, payload: bytes) -> None:
        """Keep the state after an epoch; only the latest is asked for again."""
        ...

    def load(self) -> bytes | None:
        """Give back the latest state, or None where there is none."""
        ...


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Compute the learning rate of a step (Smith and Topin, 2018, with cosine flanks).

    Args:
        step: number of the step, from 0.
        steps: number of all steps.
        peak: highest rate.

    Returns:
        A rate that rises from peak / 25 over the first 30 % of the steps and falls to almost 0 at the last.
    """
    progress = (step + 0.5) / steps
    if progress < WARM_UP:
        return peak * (1 - 24 / 25 * (1 + math.cos(math.pi * progress / WARM_UP)) / 2)
    return peak * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def resolve_device(device: Device) -> torch.device:
    """Find the device to compute on.

    Args:
        device: "auto" takes CUDA where there is one.

    Returns:
        The device.

    Raises:
        InputError: CUDA is asked for and missing.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError('The device is "cuda", but PyTorch finds no CUDA device here; choose "auto" or "cpu".')
    return torch.device(device)


def train(
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.integer],
    val_images: NDArray[np.uint8],
    val_labels: NDArray[np.integer],
    normalization: Normalization,
    settings: TrainingSettings,
    *,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
) -> TrainingResult:
    """Train a classifier, or go on with a training that was interrupted.

    The order and the variation of the images come from a generator seeded by the seed and the epoch, and the learning
    rate is a function of the step; so a training that goes on from a checkpoint ends, on the same machine, with the
    same bits as one that was never interrupted.

    The best epoch is the one whose averaged weights have the lowest class-balanced log-loss on validation. The AUC
    saturates there, and an unweighted criterion would follow the prevalence of validation, which is not that of test.

    Args:
        train_images: shape (images, height, width), 0–255, without the images that validation also holds.
        train_labels: 0 or 1, shape (images,).
        val_images: shape (images, height, width), 0–255.
        val_labels: 0 or 1, shape (images,).
        normalization: statistics of the training pixels.
        settings: how to train.
        checkpoints: where the state goes after every epoch and comes from at the start; None keeps nothing. A state
            that is damaged, or of other settings or data, is ignored with a warning.
        on_epoch: called after every epoch, once its state is kept; not for epochs that a checkpoint already holds.

    Returns:
        The weights of the best epoch, and the history.

    Raises:
        InputError: a setting or the labels make no training.
    """
    _check(settings, train_labels, val_labels)
    device = resolve_device(settings.device)
    # Only cuDNN would choose algorithms that do not repeat; the flags are put back afterwards.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        run = _Run(train_labels, settings, device)
        fingerprint = _fingerprint(settings, normalization, train_images, train_labels, val_images, val_labels)
        if checkpoints is not None and (payload := checkpoints.load()) is not None:
            run = run.restored(payload, fingerprint) or _Run(train_labels, settings, device)

        pixels = torch.from_numpy(np.array(train_images)).unsqueeze(1).to(device)
        targets = torch.from_numpy(train_labels.astype(np.float32)).to(device)
        validation = to_tensor(val_images, normalization).to(device)
        for epoch in range(len(run.history) + 1, settings.epochs + 1):
            started = time.perf_counter()
            train_loss, rate = run.train_epoch(epoch, pixels, targets, normalization)
            val_loss, val_auc = run.validate(validation, val_labels)
            metrics = EpochMetrics(
                epoch, train_loss, val_loss, val_auc, rate, time.perf_counter() - started, time.time_ns() // 1_000_000
            )
            run.record(metrics)
            if checkpoints is not None:
                checkpoints.save(epoch, run.payload(fingerprint))
            if on_epoch is not None:
                on_epoch(metrics)
    return TrainingResult({name: tensor.cpu() for name, tensor in run.best.items()}, run.history, run.best_epoch)


class _Run:
    """The state of a training: everything that changes from step to step."""

    def __init__(self, train_labels: NDArray[np.integer], settings: TrainingSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.train_labels = train_labels
        self.loss = build_loss(settings.loss, train_labels, label_smoothing=settings.label_smoothing)
        # Channels last is the layout in which GPUs convolve; on a CPU both layouts take the same time.
        self.model = build_classifier(settings.architecture, settings.seed)
        self.model = self.model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(self.model, multi_avg_fn=_moving_average(settings.ema_decay), use_buffers=True)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.history: list[EpochMetrics] = []
        self.best: Weights = {}
        self.best_epoch = 0

    def train_epoch(
        self, epoch: int, pixels: torch.Tensor, targets: torch.Tensor, normalization: Normalization
    ) -> tuple[float, float]:
        """Pass once over the training split; give the mean loss and the last learning rate."""
        size, batch_size = len(pixels), self.settings.batch_size
        # A last batch of one image would break batch normalisation; a short one only adds noise: drop it.
        batches = max(1, size // batch_size)
        generator = torch.Generator().manual_seed(_epoch_seed(self.settings.seed, epoch))
        order = torch.randperm(size, generator=generator).to(self.device)
        rate, losses = 0.0, []
        self.model.train()
        for batch in range(batches):
            chosen = order[batch * batch_size : (batch + 1) * batch_size]
            images = self.settings.augmentation(pixels[chosen].float() / 255, generator)
            rate = one_cycle((epoch - 1) * batches + batch, self.settings.epochs * batches, self.settings.learning_rate)
            self.optimizer.param_groups[0]["lr"] = rate
            loss = self.loss(self.model(normalization.apply(images)), targets[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.average.update_parameters(self.model)
            losses.append(loss.detach())  # no .item(): it would wait for the GPU at every step
        return float(torch.stack(losses).mean()), rate

    @torch.inference_mode()
    def validate(self, images: torch.Tensor, labels: NDArray[np.integer]) -> tuple[float, float]:
        """Score the averaged weights; give the class-balanced log-loss and the AUC."""
        self.average.eval()
        logits = torch.cat([self.average(batch) for batch in images.split(EVALUATION_BATCH)]).double().cpu()
        if not logits.isfinite().all():
            raise InputError(
                f"The training diverged in epoch {len(self.history) + 1} (its logits are not finite); lower "
                f"learning_rate, which is {self.settings.learning_rate:g}."
            )
        targets = torch.from_numpy(labels.astype(np.float64))
        loss = bce(logits, targets, class_weights=balanced_class_weights(labels))
        return float(loss), float(roc_auc_score(labels, logits.numpy()))

    def record(self, metrics: EpochMetrics) -> None:
        """Add an epoch to the history, and keep its weights if they are the best."""
        self.history.append(metrics)
        if all(metrics.val_loss < earlier.val_loss for earlier in self.history[:-1]):
            self.best_epoch = metrics.epoch
            self.best = {name: tensor.clone() for name, tensor in self.average.module.state_dict().items()}

    def payload(self, fingerprint: str) -> bytes:
        """Write the state down."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        if self.best_epoch < len(self.history):  # else they are the averaged weights, which are there already
            tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        metadata = {
            "fingerprint": fingerprint,
            "best_epoch": str(self.best_epoch),
            "history": json.dumps([asdict(metrics) for metrics in self.history]),
        }
        return safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata)

    def restored(self, payload: bytes, fingerprint: str) -> "_Run | None":
        """Take up a state that was written down; None where it is damaged or of another training."""
        try:
            metadata = read_metadata(payload)
            if metadata["fingerprint"] != fingerprint:
                logger.warning("The checkpoint is of other settings or data: the training starts from the beginning.")
                return None
            tensors = safetensors.torch.load(payload)
            self.model.load_state_dict(_part(tensors, "model."))
            self.average.load_state_dict(_part(tensors, "average."))
            self._restore_optimizer(_part(tensors, "optimizer."))
            self.history = [EpochMetrics(**entry) for entry in json.loads(metadata["history"])]
            self.best_epoch = int(metadata["best_epoch"])
            best = _part(tensors, "best.") or {
                name: tensor.clone() for name, tensor in self.average.module.state_dict().items()
            }
            self.best = {name: tensor.to(self.device) for name, tensor in best.items()}
        except (SafetensorError, InputError, KeyError, ValueError, TypeError, RuntimeError) as error:
            logger.warning("The checkpoint is damaged (%s): the training starts from the beginning.", error)
            return None
        return self

    def _restore_optimizer(self, tensors: Weights) -> None:
        parameters = list(self.model.parameters())
        state: dict[int, Weights] = {index: {} for index in range(len(parameters))}
        for name, tensor in tensors.items():
            index, key = name.split(".")
            # The fused step reads weights and moments in the order of their memory: give both the same layout.
            parameter = parameters[int(index)]
            same = tensor.shape == parameter.shape
            state[int(index)][key] = torch.empty_like(parameter).copy_(tensor) if same else tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _check(settings: TrainingSettings, train_labels: NDArray[np.integer], val_labels: NDArray[np.integer]) -> None:
    if settings.epochs < 1 or settings.batch_size < 2 or not settings.learning_rate > 0:
        raise InputError(
            f"Training needs epochs ≥ 1, batch_size ≥ 2 and learning_rate > 0, but got {settings.epochs}, "
            f"{settings.batch_size} and {settings.learning_rate}; change the training settings."
        )
    for name, labels in (("training", train_labels), ("validation", val_labels)):
        if set(np.unique(labels)) != {0, 1}:
            raise InputError(
                f"The {name} labels are {sorted(set(labels.tolist()))}, but both 0 (normal) and 1 (pneumonia) are "
                "needed; use a split with both classes."
            )


def _moving_average(decay: float) -> Callable[[Tensors, Tensors, torch.Tensor | int], None]:
    """Average weights and batch statistics, over fewer steps at first.

    A full memory from the start (of 200 steps at .995) would still hold the first epochs at the end of a short
    training: its probabilities, though not their order, would be far off.
    """

    @torch.no_grad()
    def update(averages: Tensors, tensors: Tensors, steps: torch.Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        for average, tensor in zip(averages, tensors, strict=True):
            if average.is_floating_point():
                average.lerp_(tensor, share)
            else:  # the step counters of batch normalisation
                average.copy_(tensor)

    return update


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)


def _fingerprint(settings: TrainingSettings, normalization: Normalization, *arrays: NDArray) -> str:
    digest = hashlib.sha256(json.dumps([asdict(settings), asdict(normalization)], sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _part(tensors: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
