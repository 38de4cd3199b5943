"""A search by Optuna: each trial is proposed from what the earlier ones reached on validation.

The sampler is TPE (Bergstra et al., 2011), as Optuna sets it up: over all fields together, and with a constant liar
for trials that still run. The rule that prunes is its median rule (Golovin et al., 2017).

Trials run side by side, and which of them ends first is chance. So that a search repeats, each is proposed from the
results of all that were proposed a fixed number earlier, whatever else has ended by then. Nothing of the study is kept:
the same trials have the same results, from which the same study comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import optuna
from annotated_types import Ge, Le
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from models.choices import PROBE
from models.classifier.losses import check_loss
from models.errors import InputError
from tasks.classification.sweep.grid import AXES, MOST_TRAININGS, Trial, check_lists
from tasks.classification.sweep.leaderboard import CRITERION, TrialResult
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters

SEED = 0
"""Of the sampler."""
SEARCHED = (
    "losses", "schedules", "augmentations", "learning_rates", "weight_decays", "label_smoothings", "mixups",
)  # fmt: skip
"""Lists of the form that, where it names none, are searched over all that their fields take. The others decide how long
a training takes."""

FEWEST_FINISHED = 3
"""Finished trials from which importances are computed."""

Value = str | float
Bars = tuple[float | None, ...]


@dataclass(frozen=True)
class Proposal:
    """A trial of a search: settings, with which a network is trained for each seed.

    Attributes:
        number: from 0, in the order in which they were proposed.
        trials: one training a seed.
        bars: of each training, by epoch, what its lowest validation loss may not exceed, else it is pruned.
    """

    number: int
    trials: tuple[Trial, ...]
    bars: tuple[Bars, ...]


class Search:
    """The study of a search, which proposes trials and is told how they ended.

    Args:
        training: the values of all fields that are not searched.
        sweep: what to search, and how.
        classes: number of classes of the dataset.

    Raises:
        InputError: the form contradicts itself, or leaves nothing to search.
    """

    def __init__(self, training: TrainingParameters, sweep: SweepParameters, classes: int) -> None:
        self._training, self.form = training, sweep
        self.fixed, self.space = search_space(training, sweep, classes)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=SEED, n_startup_trials=sweep.startup_trials)
        self.study = optuna.create_study(sampler=sampler)
        self._asked: dict[int, optuna.Trial] = {}
        self._curves: list[list[Sequence[float]]] = []  # of each trial that was finished, by seed

    def propose(self) -> Proposal:
        """Propose the next trial from what has been told by now."""
        trial = self.study.ask(dict(self.space))
        self._asked[trial.number] = trial
        chosen = self.fixed | trial.params
        settings = {field: chosen[field] for field in AXES.values() if field in chosen}
        forms = [self._training.model_copy(update=settings | {"seed": seed}) for seed in self.form.seeds]
        return Proposal(
            trial.number,
            tuple(Trial(settings, form) for form in forms),
            tuple(self._bars([curves[place] for curves in self._curves]) for place in range(len(forms))),
        )

    def tell(self, proposal: Proposal, results: Sequence[TrialResult]) -> None:
        """Tell how a trial ended.

        Args:
            proposal: the trial.
            results: of its trainings, up to the first that failed or was pruned.
        """
        trial = self._asked[proposal.number]
        step = 0
        for result in results:  # the epochs are counted on over the seeds
            for value in result.curve:
                step += 1
                trial.report(value, step)
        if any(result.state == "failed" for result in results):
            self.study.tell(trial, state=TrialState.FAIL)
        elif any(result.pruned for result in results):
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, float(np.mean([result.metrics[CRITERION] for result in results])))
            self._curves.append([result.curve for result in results])

    def trials(self, state: TrialState) -> list[FrozenTrial]:
        """Return the trials that ended in a state."""
        return self.study.get_trials(deepcopy=False, states=[state])

    def importances(self) -> dict[str, float]:
        """Compute how much each field decides whether a trial is among the best tenth (PED-ANOVA; Watanabe, 2023).

        Returns:
            Share by searched field, the largest first; empty where too few trials have finished.
        """
        return get_param_importances(self.study) if len(self.trials(TrialState.COMPLETE)) >= FEWEST_FINISHED else {}

    def _bars(self, curves: Sequence[Sequence[float]]) -> Bars:
        """Return what Optuna's MedianPruner compares with, from what the finished trials reached with a seed.

        As numbers they are part of what a training is known by, where Optuna itself would make every training depend
        on its version.
        """
        first = self.form.prune_after
        if first is None or len(curves) < self.form.startup_trials:
            return ()
        reached = [[curve[at] for curve in curves if at < len(curve)] for at in range(max(map(len, curves)))]
        return tuple(None if at + 1 < first else float(np.median(values)) for at, values in enumerate(reached))


def search_space(
    training: TrainingParameters, sweep: SweepParameters, classes: int
) -> tuple[dict[str, Value], dict[str, BaseDistribution]]:
    """Say what a search may propose.

    Of a field of numbers, two are the ends of a range, which is searched on a logarithmic scale where its lower end is
    above 0, and three or more are to choose from; of names, any are. One is a value that is kept. Where no field is
    named, the fields of `SEARCHED` have all the values that the training form takes.

    Args:
        training: the values of all fields that are not searched.
        sweep: the form.
        classes: number of classes of the dataset.

    Returns:
        The values that are kept and the distributions of the others, by field of the training form.

    Raises:
        InputError: the form contradicts itself, or leaves nothing to search.
    """
    named = {AXES[axis]: list(getattr(sweep, axis)) for axis in AXES if getattr(sweep, axis)}
    values = named or {AXES[axis]: _all_of(AXES[axis], training, classes) for axis in SEARCHED}
    check_lists(training, sweep, values.get("loss", [training.loss]), classes)
    fixed = {field: given[0] for field, given in values.items() if len(given) == 1}
    space = {field: _distribution(field, given) for field, given in values.items() if len(given) > 1}
    if not space:
        raise InputError(
            "The search has nothing to choose: each list of --sweep holds one value. Give two ends of a range, or "
            "several values, for instance --sweep.learning_rates 0.0003,0.01; or leave all lists empty."
        )
    if set(values.get("architecture", [training.architecture])) == {PROBE}:
        raise InputError(
            "A probe chooses its regularisation itself, and no field of a search counts for it: search the training of "
            "another architecture."
        )
    if sweep.trials is None:
        raise InputError("A search ends after --sweep.trials: say how many, for instance --sweep.trials 20.")
    trainings = sweep.trials * len(sweep.seeds)
    if trainings > MOST_TRAININGS:
        raise InputError(
            f"The search would train {trainings} networks ({sweep.trials} trials × {len(sweep.seeds)} seeds), but at "
            f"most {MOST_TRAININGS} are allowed: ask for fewer trials or seeds."
        )
    combinations = _combinations(space)
    if combinations is not None and combinations < sweep.trials:
        raise InputError(
            f"The search has {combinations} combinations to choose from, fewer than its {sweep.trials} trials: train "
            "them all with --sweep.search grid and without --sweep.trials, or search a range of numbers."
        )
    return fixed, space


def _all_of(field: str, training: TrainingParameters, classes: int) -> list[Any]:
    """Return the choices of a field of the training form, or its lower and upper bound."""
    known = TrainingParameters.model_fields[field]
    choices = list(get_args(known.annotation))
    if not choices:
        bounds = {type(bound): bound for bound in known.metadata}
        return [bounds[Ge].ge, bounds[Le].le]
    return [choice for choice in choices if field != "loss" or _fits(choice, training, classes)]


def _fits(loss: Any, training: TrainingParameters, classes: int) -> bool:
    try:
        check_loss(loss, classes, focal_alpha=training.focal_alpha)
    except InputError:
        return False
    return True


def _distribution(field: str, values: Sequence[Any]) -> BaseDistribution:
    if isinstance(values[0], str) or len(values) > 2:
        return CategoricalDistribution(tuple(values))
    low, high = values
    if low > high:
        axis = next(axis for axis, other in AXES.items() if other == field)
        raise InputError(
            f"sweep.{axis} names {low:g} and then {high:g}: of a range that is searched, name the lower end first."
        )
    if isinstance(low, int) and isinstance(high, int) and TrainingParameters.model_fields[field].annotation is int:
        return IntDistribution(low, high)
    return FloatDistribution(low, high, log=low > 0)


def _combinations(space: Mapping[str, BaseDistribution]) -> int | None:
    """Count what can be proposed; None where a field has a range of numbers that are not whole."""
    count = 1
    for found in space.values():
        if isinstance(found, CategoricalDistribution):
            count *= len(found.choices)
        elif isinstance(found, IntDistribution):
            count *= found.high - found.low + 1
        else:
            return None
    return count
