"""What the report of a sweep says of a search."""

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from tasks.classification.sweep.leaderboard import shown_value
from tasks.classification.sweep.search import SEED, Search
from tasks.shared.markdown import picture, table

RELIABLE = 50
"""Finished trials of which the best tenth are five, as Optuna advises for the importances."""
_FIGURES = picture(
    "optimization_history", "What each trial reached, in the order of the proposals: the line is the best so far."
) + picture("parameter_importance", "How much each field decides whether a trial is among the best tenth.")


def search_section(search: Search) -> str:
    """Write what was searched, how, and how the trials ended.

    Args:
        search: all of whose trials have ended.

    Returns:
        Markdown.
    """
    form, states = search.form, {state: len(search.trials(state)) for state in TrialState}
    ends = [
        f"{states[TrialState.COMPLETE]} finished",
        f"{states[TrialState.PRUNED]} were pruned",
        f"{states[TrialState.FAIL]} failed",
    ]
    text = (
        f"Optuna {optuna.__version__} proposed {len(search.study.trials)} trials (TPE, seed {SEED}; the first "
        f"{form.startup_trials} at random): {', '.join(ends)}."
    )
    if form.prune_after is not None:
        text += (
            f" A training is pruned after epoch {form.prune_after} or later, once its lowest validation log-loss is "
            f"above the median that the finished trials had in that epoch, of which there must be {form.startup_trials}"
            "; it is not ranked, and the search learns from it all the same."
        )
    shares = search.importances()
    rows = [(field, _values(distribution), shares.get(field, "–")) for field, distribution in search.space.items()]
    caution = ""
    if shares and states[TrialState.COMPLETE] < RELIABLE:
        caution = f"\nImportances of fewer than {RELIABLE} finished trials are hints.\n"
    return f"{text}\n\n{_FIGURES}{table(('field', 'searched', 'importance'), rows)}{caution}"


def _values(distribution: optuna.distributions.BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(
            shown_value(choice) for choice in distribution.choices if isinstance(choice, str | float | int)
        )
    assert isinstance(distribution, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution)
    scale = ", logarithmic" if distribution.log else ""
    return f"{distribution.low:g} to {distribution.high:g}{scale}"
