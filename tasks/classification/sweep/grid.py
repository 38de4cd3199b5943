"""The trainings of a sweep: every combination of the values to compare, with every seed."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InputError
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters

AXES = {
    "architectures": "architecture",
    "losses": "loss",
    "schedules": "schedule",
    "augmentations": "augmentation",
    "learning_rates": "learning_rate",
    "weight_decays": "weight_decay",
    "label_smoothings": "label_smoothing",
    "mixups": "mixup",
    "epochs": "epochs",
    "batch_sizes": "batch_size",
}
"""Field of the training form by field of the sweep form."""

MOST_TRAININGS = 200


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        settings: values of the fields that the sweep compares, in the order of `AXES`; the seed is not one of them.
        training: the whole form.
    """

    settings: dict[str, str | float]
    training: TrainingParameters


def grid(training: TrainingParameters, sweep: SweepParameters, classes: int) -> list[Trial]:
    """Combine the values of a sweep with each other and with the seeds.

    Args:
        training: the values of all fields that the sweep does not compare.
        sweep: what to compare.
        classes: number of classes of the data set.

    Returns:
        The trainings, the first seed of every combination before the second of any, so that a sweep which is ended
        early has seen them all.

    Raises:
        InputError: the lists make no sense, two combinations would be the same training, there are more than 200
            trainings, or a number of trials is named, which only a search has.
    """
    axes = {field: getattr(sweep, axis) for axis, field in AXES.items() if getattr(sweep, axis)}
    losses = axes.get("loss", [training.loss])
    check_lists(training, sweep, losses, classes)
    if sweep.trials is not None:
        raise InputError(
            "--sweep.trials is for a search, and the grid trains every combination: leave it out, or choose "
            "--sweep.search tpe."
        )
    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    count = len(combinations) * len(sweep.seeds)
    if count > MOST_TRAININGS:
        raise InputError(
            f"The sweep would train {count} networks ({len(combinations)} combinations × {len(sweep.seeds)} seeds), "
            f"but at most {MOST_TRAININGS} are allowed: compare fewer values at once."
        )
    if "focal" in losses and len(sweep.label_smoothings) > 1:
        raise InputError(
            "The focal loss takes no label smoothing, so sweep.label_smoothings would train the same network several "
            "times: leave focal out of the losses, or name one label smoothing."
        )
    return [
        Trial(settings, training.model_copy(update=settings | {"seed": seed}))
        for seed in sweep.seeds
        for settings in combinations
    ]


def check_lists(training: TrainingParameters, sweep: SweepParameters, losses: Sequence[Any], classes: int) -> None:
    """Refuse lists that make no sense, whether they are combined or searched.

    Args:
        training: the values of all fields that the sweep does not name.
        sweep: the form.
        losses: that may be trained with.
        classes: number of classes of the dataset.

    Raises:
        InputError: a value or a seed is named twice, a loss does not fit the classes, or the weights to start from fit
            one network and several are named.
    """
    from models.classifier.losses import check_loss

    for axis in (*AXES, "seeds"):
        _refuse_duplicates(axis, getattr(sweep, axis))
    if not sweep.seeds:
        raise InputError("sweep.seeds is empty: name at least one seed.")
    for loss in losses:
        check_loss(loss, classes, focal_alpha=training.focal_alpha)
    if training.pretrained not in (None, "imagenet") and len(sweep.architectures) > 1:
        raise InputError(
            f"training.pretrained is {training.pretrained}, a file that fits one network, but sweep.architectures "
            "names several: name one, or start from random weights."
        )


def _refuse_duplicates(axis: str, values: Sequence[object]) -> None:
    """A value that is named twice would be trained once and counted twice."""
    twice = [value for position, value in enumerate(values) if value in values[:position]]
    if twice:
        raise InputError(f"sweep.{axis} names {twice[0]} more than once: name each value once.")
