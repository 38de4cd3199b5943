"""What decides a training beside the data, and which choices make none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from models.choices import Architecture
from models.classifier.augmentation import Strength
from models.classifier.losses import LossName, check_loss
from models.classifier.schedules import Schedule
from models.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class TrainingSettings:
    """What decides the weights, beside the data.

    Attributes:
        architecture: the network.
        pretrained: file of weights that the network starts from, as `load_backbone` reads it; None starts from random
            ones.
        epochs: passes over the training split.
        batch_size: images a step.
        learning_rate: peak of the schedule.
        schedule: how the learning rate changes from step to step.
        weight_decay: decoupled weight decay of AdamW.
        loss: the loss.
        label_smoothing: share of the target that moves to all classes alike, in the cross-entropies.
        focal_alpha: weight of class 1 in the focal loss of two classes; None balances the classes.
        focal_gamma: focusing exponent of the focal loss.
        ema_decay: decay a step of the moving average of the weights, which is what is validated and returned.
        augmentation: strength of the random variation.
        mixup: parameter of the Beta distribution by which images are blended; 0 blends none.
        patience: epochs without a better validation loss after which the training ends; None goes through them all. A
            schedule that has not fallen yet is cut short, so this rarely helps with `one_cycle`.
        seed: seed of the initial weights, the order of the images and their variation.
        device: "auto" takes CUDA where there is one.
        precision: of the forward and the backward pass; weights are float32 always. "auto" takes bf16 on a GPU that
            computes in it, else fp32.
        compile: compile the network with torch.compile: a minute at the start, less time a step.
    """

    architecture: Architecture = "ensemble28"
    pretrained: Path | None = None
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    schedule: Schedule = "one_cycle"
    weight_decay: float = 0.01
    loss: LossName = "balanced_bce"
    label_smoothing: float = 0.05
    focal_alpha: float | None = None
    focal_gamma: float = 2.0
    ema_decay: float = 0.995
    augmentation: Strength = "standard"
    mixup: float = 0.0
    patience: int | None = None
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"
    compile: bool = False


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


def computes_in_bf16(precision: Precision, device: torch.device) -> bool:
    """Decide whether to compute in bfloat16.

    Args:
        precision: "auto" takes bf16 on a GPU that computes in it without emulation, else fp32.
        device: where to compute.

    Returns:
        True for bfloat16, False for float32.
    """
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"


def check_settings(settings: TrainingSettings, classes: int) -> None:
    """Refuse settings that make no training, before any data is read.

    Args:
        settings: how to train.
        classes: number of classes.

    Raises:
        InputError: a number is out of range, a name is unknown, or the loss does not fit the number of classes.
    """
    if settings.epochs < 1 or settings.batch_size < 2 or not settings.learning_rate > 0 or settings.mixup < 0:
        raise InputError(
            f"Training needs epochs ≥ 1, batch_size ≥ 2, learning_rate > 0 and mixup ≥ 0, but got {settings.epochs}, "
            f"{settings.batch_size}, {settings.learning_rate} and {settings.mixup}; change the training settings."
        )
    if settings.patience is not None and settings.patience < 1:
        raise InputError(
            f"patience is {settings.patience}, but it must be 1 or more, or empty to go through all epochs."
        )
    for field, name, names in (
        ("architecture", settings.architecture, get_args(Architecture)),
        ("schedule", settings.schedule, get_args(Schedule)),
        ("augmentation", settings.augmentation, get_args(Strength)),
        ("precision", settings.precision, get_args(Precision)),
    ):
        if name not in names:
            raise InputError(f"Unknown {field} {name!r}; choose one of: {', '.join(names)}.")
    check_loss(settings.loss, classes, focal_alpha=settings.focal_alpha)
