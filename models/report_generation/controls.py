"""Control conditions: the same question with another image, another probability, other words or another batch.

`CONTROLS` is the one table: the form offers what it names, and plan, audit, figures and document go by it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.report_generation.schema import Case, Control

Images = NDArray[np.uint8]
ShownImage = Callable[[int, Images, NDArray[np.integer], int], Images | None]


@dataclass(frozen=True)
class ControlCondition:
    """How a request under a control differs from the plain one, and what is measured of it.

    Attributes:
        title: what is different, in a few words.
        changes: the image for that of another patient or for one that shows nothing, what is told of the context, the
            words of the prompt, or the batch.
        effects: names of the effects in the audit, see `tasks.reports.audit.control_effects.EFFECTS`.
        image: makes the image that is shown, of the position of the case, all images, their classes and a seed; None
            where the case's own is shown.
        told: makes the probability that is told, of the case's; None where its own is told.
    """

    title: str
    changes: Literal["patient", "image", "context", "prompt", "batch"]
    effects: tuple[str, ...]
    image: ShownImage | None = None
    told: Callable[[float], float | None] | None = None


def _black(index: int, images: Images, labels: NDArray[np.integer], seed: int) -> Images:
    return np.zeros_like(images[index])


def _noise(index: int, images: Images, labels: NDArray[np.integer], seed: int) -> Images:
    """Draw Gaussian noise with the mean and standard deviation of the case's own image, cut to 0–255."""
    own = images[index]
    noise = np.random.default_rng([seed, index]).normal(own.mean(), own.std(), own.shape)
    return noise.round().clip(0, 255).astype(np.uint8)


def _other_patient(*, same_class: bool) -> ShownImage:
    def choose(index: int, images: Images, labels: NDArray[np.integer], seed: int) -> Images:
        differs = (images != images[index]).any(axis=(1, 2))  # a duplicate is not another patient
        candidates = np.flatnonzero(differs & ((labels == labels[index]) == same_class))
        if len(candidates) == 0:
            wanted = "its own" if same_class else "the other"
            raise InputError(
                f"Case {index} has no image of another patient of {wanted} class to be shown with; use a split with "
                "more images, or leave out this control."
            )
        return np.asarray(images[np.random.default_rng([seed, index]).choice(candidates)])

    return choose


_FOLLOWED = ("flip_rate", "follow_rate")
_EMPTY = ("flip_rate", "concludes", "pneumonia")
_IDENTICAL = ("identical_text", "identical_label")

CONTROLS: dict[Control, ControlCondition] = {
    "blank": ControlCondition("black image", "image", _EMPTY, image=_black),
    "noise": ControlCondition("noise image", "image", _EMPTY, image=_noise),
    "same_label": ControlCondition(
        "another patient, same class", "patient", _FOLLOWED, image=_other_patient(same_class=True)
    ),
    "other_label": ControlCondition(
        "another patient, other class", "patient", _FOLLOWED, image=_other_patient(same_class=False)
    ),
    "no_image": ControlCondition("no image", "image", _EMPTY, image=lambda *_: None),
    "flipped": ControlCondition("probability flipped", "context", _FOLLOWED, told=lambda probability: 1 - probability),
    "even": ControlCondition("probability one half", "context", ("flip_rate",), told=lambda _: 0.5),
    "no_probability": ControlCondition("no probability", "context", ("flip_rate",), told=lambda _: None),
    "paraphrase": ControlCondition("question paraphrased", "prompt", ("consistency",)),
    "companions": ControlCondition("other companions in the batch", "batch", _IDENTICAL),
    "alone": ControlCondition("batch of one, which is slow", "batch", _IDENTICAL),
}

DEFAULT_CONTROLS: tuple[Control, ...] = tuple(name for name in CONTROLS if name != "alone")
"""Those that are asked for where no other choice is made. A batch of one takes as many steps as a whole batch does, and
was 89 % of the steps of a run with all controls."""


def control_image(
    control: Control, index: int, images: Images, labels: NDArray[np.integer], seed: int
) -> Images | None:
    """Make the image that a control shows in place of a case's own.

    Args:
        control: the control, or `none`.
        index: position of the case's own image.
        images: all test images, shape (images, height, width), 0–255.
        labels: their true classes, shape (images,), 0 or 1.
        seed: seed of the noise and of the choice of another patient; with the case it decides them.

    Returns:
        The image, shape (height, width); the case's own for controls that are not of the image; None for no image.

    Raises:
        InputError: there is no other patient of the class.
    """
    condition = CONTROLS.get(control)
    if condition is None or condition.image is None:
        return np.asarray(images[index])
    return condition.image(index, images, labels, seed)


def control_case(control: Control, case: Case) -> Case:
    """Make the evidence that a control tells in place of the case's own.

    Args:
        control: the control, or `none`.
        case: the case; its probability may be unknown, and then stays so.

    Returns:
        The case with the probability that the control tells; heat map and neighbours stay.
    """
    condition = CONTROLS.get(control)
    if condition is None or condition.told is None or case.probability is None:
        return case
    return case.model_copy(update={"probability": condition.told(case.probability)})
