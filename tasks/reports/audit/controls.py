"""Control conditions: the same question with another image, another probability, other words or another batch."""

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.report_generation.schema import Case, Control

IMAGE_CONTROLS: tuple[Control, ...] = ("blank", "noise", "same_label", "other_label", "no_image")
CONTEXT_CONTROLS: tuple[Control, ...] = ("flipped", "even", "no_probability")


def control_image(
    control: Control, index: int, images: NDArray[np.uint8], labels: NDArray[np.integer], seed: int
) -> NDArray[np.uint8] | None:
    """Make the image that a control shows in place of a case's own.

    Args:
        control: the control.
        index: position of the case's own image.
        images: all test images, shape (images, height, width), 0–255.
        labels: their true classes, shape (images,), 0 or 1.
        seed: seed of the noise and of the choice of another patient; with the case it decides them.

    Returns:
        The image, shape (height, width): black for `blank`; for `noise` Gaussian noise with the mean and standard
        deviation of the case's own image, cut to 0–255; another patient's for `same_label` and `other_label`; its own
        for controls that are not of the image. None for `no_image`.

    Raises:
        InputError: there is no other patient of the class.
    """
    own = images[index]
    if control == "no_image":
        return None
    if control == "blank":
        return np.zeros_like(own)
    if control == "noise":
        noise = np.random.default_rng([seed, index]).normal(own.mean(), own.std(), own.shape)
        return noise.round().clip(0, 255).astype(np.uint8)
    if control in ("same_label", "other_label"):
        return images[_other_patient(index, images, labels, same=control == "same_label", seed=seed)]
    return own


def control_case(control: Control, case: Case) -> Case:
    """Make the evidence that a control tells in place of the case's own.

    Args:
        control: the control.
        case: the case; its probability may be unknown, and then stays so.

    Returns:
        The case with the probability 1 - p for `flipped`, one half for `even`, none for `no_probability`; unchanged
        for all other controls. Heat map and neighbours stay.
    """
    if control not in CONTEXT_CONTROLS or case.probability is None:
        return case
    told = {"flipped": 1 - case.probability, "even": 0.5, "no_probability": None}[control]
    return case.model_copy(update={"probability": told})


def _other_patient(index: int, images: NDArray[np.uint8], labels: NDArray[np.integer], *, same: bool, seed: int) -> int:
    differs = (images != images[index]).any(axis=(1, 2))  # a duplicate is not another patient
    candidates = np.flatnonzero(differs & ((labels == labels[index]) == same))
    if len(candidates) == 0:
        wanted = "its own" if same else "the other"
        raise InputError(
            f"Case {index} has no image of another patient of {wanted} class to be shown with; use a split with more "
            "images, or leave out this control."
        )
    return int(np.random.default_rng([seed, index]).choice(candidates))
