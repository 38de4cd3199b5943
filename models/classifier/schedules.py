"""Learning rates, each a function of the step alone, so that an interrupted training goes on with the same rates."""

import math
from typing import Literal, get_args

from models.errors import InputError

Schedule = Literal["one_cycle", "cosine", "step"]

ONE_CYCLE_WARM_UP = 0.3  # share of the steps in which the rate rises
COSINE_WARM_UP = 0.05


def learning_rate(schedule: Schedule, step: int, steps: int, peak: float) -> float:
    """Compute the learning rate of a step.

    Args:
        schedule: `one_cycle` rises from peak / 25 over the first 30 % of the steps and falls to almost 0, both along a
            cosine (Smith and Topin, 2018); `cosine` rises linearly over the first 5 % and falls to almost 0 along a
            cosine (Loshchilov and Hutter, 2017; without restarts); `step` begins at the peak and takes a tenth of the
            rate after one half and again after three quarters of the steps, as the training script of MedMNIST does.
        step: number of the step, from 0.
        steps: number of all steps.
        peak: highest rate.

    Returns:
        The rate, above 0.

    Raises:
        InputError: the schedule is unknown.
    """
    progress = (step + 0.5) / steps
    if schedule == "one_cycle":
        if progress < ONE_CYCLE_WARM_UP:
            return peak * (1 - 24 / 25 * (1 + math.cos(math.pi * progress / ONE_CYCLE_WARM_UP)) / 2)
        return _cosine_fall(progress, ONE_CYCLE_WARM_UP, peak)
    if schedule == "cosine":
        if progress < COSINE_WARM_UP:
            return peak * progress / COSINE_WARM_UP
        return _cosine_fall(progress, COSINE_WARM_UP, peak)
    if schedule == "step":
        return peak * (1 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
    raise InputError(f"Unknown schedule {schedule!r}; choose one of: {', '.join(get_args(Schedule))}.")


def _cosine_fall(progress: float, start: float, peak: float) -> float:
    return peak * (1 + math.cos(math.pi * (progress - start) / (1 - start))) / 2
