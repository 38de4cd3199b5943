"""Learning rates, each a function of the step alone, so that an interrupted training resumes at the same rate."""

import math
from collections.abc import Callable

from models.choices import ScheduleName

ONE_CYCLE_WARM_UP = 0.3  # share of the steps in which the rate rises
COSINE_WARM_UP = 0.05


def learning_rate(schedule: ScheduleName, step: int, steps: int, peak: float) -> float:
    """Compute the learning rate of a step.

    Args:
        schedule: name of the schedule; `models.choices.SCHEDULES` describes each.
        step: number of the step, from 0.
        steps: number of all steps.
        peak: highest rate.

    Returns:
        The rate, above 0.
    """
    return _SCHEDULES[schedule]((step + 0.5) / steps, peak)


def _one_cycle(progress: float, peak: float) -> float:
    if progress < ONE_CYCLE_WARM_UP:
        return peak * (1 - 24 / 25 * (1 + math.cos(math.pi * progress / ONE_CYCLE_WARM_UP)) / 2)
    return _cosine_decay(progress, ONE_CYCLE_WARM_UP, peak)


def _cosine(progress: float, peak: float) -> float:
    if progress < COSINE_WARM_UP:
        return peak * progress / COSINE_WARM_UP
    return _cosine_decay(progress, COSINE_WARM_UP, peak)


def _step(progress: float, peak: float) -> float:
    return peak * (1 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)


def _cosine_decay(progress: float, start: float, peak: float) -> float:
    return peak * (1 + math.cos(math.pi * (progress - start) / (1 - start))) / 2


# From the share of the steps that are done, and the peak, to the rate.
_SCHEDULES: dict[ScheduleName, Callable[[float, float], float]] = {
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "step": _step,
}
