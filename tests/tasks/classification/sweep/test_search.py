"""What a search proposes and prunes, beside Optuna called by hand."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from models.classifier.epoch_metrics import EpochMetrics
from models.classifier.training import falls_behind
from models.errors import InputError
from tasks.classification.sweep.leaderboard import CRITERION, METRICS, TrialResult
from tasks.classification.sweep.search import Search, search_space
from tasks.classification.sweep.search_figures import _history, _importance, search_figures
from tasks.classification.sweep.search_report import search_section
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters
from tests.support.figures import REAL, drawn_by, require_legible

EPOCHS = 6
LISTS = {"learning_rates": [1e-4, 1e-1], "label_smoothings": [0, 0.3], "augmentations": ["none", "light", "strong"]}
SPACE = {
    "augmentation": CategoricalDistribution(["none", "light", "strong"]),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "label_smoothing": FloatDistribution(0, 0.3),
}


def search(classes=2, training=None, **fields):
    form = SweepParameters(search="tpe", **{"trials": 30, "seeds": [0]} | fields)
    return Search(TrainingParameters(**training or {}), form, classes)


def curve_of(settings, number, seed=0):
    """A validation loss by epoch that depends on the settings, with noise."""
    noise = np.random.default_rng((number, seed)).normal(0, 0.1, EPOCHS)
    far = abs(np.log10(settings["learning_rate"]) + 2) + settings["label_smoothing"]
    return [float(value) for value in far + noise + 1 / np.arange(1, EPOCHS + 1)]


def trained(trial, bars, number):
    """Train as a trial does, on a curve that is known."""
    curve = curve_of(trial.settings, number, trial.training.seed)
    for epoch in range(1, EPOCHS):
        history = [EpochMetrics(at + 1, 0, value, 0, 0, 0, 0) for at, value in enumerate(curve[:epoch])]
        if falls_behind(history, bars):
            return TrialResult(trial.settings, trial.training.seed, "run", {}, curve=curve[:epoch], pruned=True)
    metrics = dict.fromkeys(METRICS, 0.9) | {CRITERION: min(curve)}
    return TrialResult(trial.settings, trial.training.seed, "run", metrics, curve=curve)


def ended(proposal):
    """Train a proposal with its seeds in turn; the fifth fails."""
    if proposal.number == 4:
        trial = proposal.trials[0]
        return [TrialResult(trial.settings, trial.training.seed, "failed", {}, error="no")]
    results = []
    for trial, bars in zip(proposal.trials, proposal.bars, strict=True):
        results.append(trained(trial, bars, proposal.number))
        if results[-1].pruned:
            break
    return results


@pytest.mark.parametrize("at_once", [1, 3])
def test_proposals_and_pruning_are_those_of_optuna_called_by_hand(at_once):
    found, under_way, mine = search(**LISTS, prune_after=2), [], []
    for _ in range(30):
        if len(under_way) == at_once:
            proposal, results = under_way.pop(0)
            found.tell(proposal, results)
        proposal = found.propose()
        under_way.append((proposal, ended(proposal)))
        (result,) = under_way[-1][1]
        mine.append((proposal.trials[0].settings, "failed" if result.state == "failed" else len(result.curve)))

    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=5)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    study, running, expected = optuna.create_study(sampler=sampler, pruner=pruner), [], []
    for number in range(30):
        if len(running) == at_once:
            trial, values = running.pop(0)
            study.tell(trial, **values)
        trial = study.ask(SPACE)
        settings = {field: trial.params[field] for field in SPACE}
        if number == 4:
            running.append((trial, {"state": TrialState.FAIL}))
            expected.append((settings, "failed"))
            continue
        curve = curve_of(settings, number)
        for epoch in range(1, EPOCHS + 1):
            trial.report(curve[epoch - 1], epoch)
            if epoch < EPOCHS and trial.should_prune():
                running.append((trial, {"state": TrialState.PRUNED}))
                break
        else:
            running.append((trial, {"values": min(curve)}))
        expected.append((settings, epoch))
    assert mine == expected
    lengths = [length for _, length in mine]
    assert EPOCHS in lengths
    assert min(length for length in lengths if length != "failed") == 2


def test_each_seed_is_compared_with_the_same_seed_and_the_criterion_is_their_mean():
    found = search(**LISTS, seeds=[5, 3], startup_trials=2, prune_after=3)
    for _ in range(4):
        proposal = found.propose()
        found.tell(proposal, ended(proposal))
    last = found.propose()
    assert [trial.training.seed for trial in last.trials] == [5, 3]
    finished = found.trials(TrialState.COMPLETE)
    assert [len(trial.intermediate_values) for trial in finished] == [2 * EPOCHS] * len(finished)
    for place, bars in enumerate(last.bars):
        curves = [list(trial.intermediate_values.values())[place * EPOCHS :][:EPOCHS] for trial in finished]
        assert bars == (None, None, *np.median(curves, axis=0)[2:])
    for trial in finished:
        curve = list(trial.intermediate_values.values())
        assert trial.value == pytest.approx((min(curve[:EPOCHS]) + min(curve[EPOCHS:])) / 2)


def test_nothing_is_pruned_where_the_form_says_so_or_too_few_have_finished():
    for fields in ({"prune_after": None, "startup_trials": 1}, {"startup_trials": 4}):
        found = search(**LISTS, **fields)
        for _ in range(4):
            proposal = found.propose()
            assert proposal.bars == ((),)
            found.tell(proposal, ended(proposal))


@pytest.mark.parametrize(
    ("lists", "fixed", "space"),
    [
        (LISTS, {}, SPACE),
        ({"learning_rates": [0.01], "epochs": [5, 20]}, {"learning_rate": 0.01}, {"epochs": IntDistribution(5, 20)}),
        ({"batch_sizes": [16, 32, 64]}, {}, {"batch_size": CategoricalDistribution([16, 32, 64])}),
        (
            {}, {},
            {
                "loss": CategoricalDistribution(["balanced_bce", "bce", "focal"]),
                "schedule": CategoricalDistribution(["one_cycle", "cosine", "step"]),
                "augmentation": CategoricalDistribution(["none", "light", "standard", "strong", "crops", "diverse"]),
                "learning_rate": FloatDistribution(1e-6, 1, log=True),
                "weight_decay": FloatDistribution(0, 1),
                "label_smoothing": FloatDistribution(0, 0.499),
                "mixup": FloatDistribution(0, 10),
            },
        ),
    ],
)  # fmt: skip
def test_the_space_is_what_the_lists_say_and_else_all_that_the_form_takes(lists, fixed, space):
    form = SweepParameters(search="tpe", trials=3, **lists)
    assert search_space(TrainingParameters(), form, 2) == (fixed, space)


def test_losses_that_do_not_fit_the_classes_are_not_searched():
    assert search(classes=8).space["loss"].choices == ("balanced_cross_entropy", "cross_entropy", "focal")


@pytest.mark.parametrize(
    ("fields", "training", "told"),
    [
        ({"learning_rates": [0.1, 0.01]}, {}, r"^sweep.learning_rates names 0.1 and then 0.01: .* lower end first"),
        ({"learning_rates": [0.1]}, {}, "nothing to choose"),
        ({"learning_rates": [0.1, 0.1]}, {}, "names 0.1 more than once"),
        (LISTS | {"trials": None}, {}, "--sweep.trials 20"),
        (LISTS | {"trials": 100, "seeds": [0, 1, 2]}, {}, r"300 networks \(100 trials × 3 seeds\)"),
        ({"augmentations": ["none", "light"], "epochs": [2, 3], "trials": 5}, {}, "has 4 combinations .* its 5 trials"),
        ({"losses": ["bce", "cross_entropy"]}, {}, "cross_entropy"),
        (LISTS, {"architecture": "probe"}, "A probe chooses"),
        ({"architectures": ["probe"]} | LISTS, {}, "A probe chooses"),
        ({"architectures": ["compact28", "resnet18_gray"]}, {"pretrained": "a.pth"}, "a.pth, a file that fits one"),
    ],
)
def test_what_makes_no_search_is_one_sentence(fields, training, told):
    with pytest.raises(InputError, match=told) as raised:
        search(**{"trials": 2} | fields, training=training)
    assert len(str(raised.value)) <= 300


@pytest.fixture(scope="module")
def twelve():
    """A search of twelve trials, of which one failed and some were pruned."""
    found = search(**LISTS, trials=12, startup_trials=3, prune_after=1)
    for _ in range(12):
        proposal = found.propose()
        found.tell(proposal, ended(proposal))
    return found


def test_the_report_says_what_was_searched_and_how_it_ended(twelve):
    found = twelve
    text = search_section(found)
    pruned = len(found.trials(TrialState.PRUNED))
    assert pruned > 0
    assert f"proposed 12 trials (TPE, seed 0; the first 3 at random): {11 - pruned} finished, {pruned} were" in text
    shares = optuna.importance.get_param_importances(found.study)
    assert f"| learning_rate | 0.0001 to 0.1, logarithmic | {shares['learning_rate']:.3f} |" in text
    assert "| augmentation | none, light, strong |" in text
    assert "fewer than 50 finished trials" in text


def test_the_figures_hold_what_the_study_and_optuna_say(twelve):
    require_legible(lambda: _history(twelve, REAL))
    require_legible(lambda: _importance(twelve, REAL))
    (history,) = drawn_by(lambda: _history(twelve, REAL))
    lines = {line.get_label(): line for line in history.axes[0].lines}
    values = [trial.value for trial in twelve.trials(TrialState.COMPLETE)]
    assert list(lines["finished"].get_ydata()) == values
    assert list(lines["best so far"].get_ydata()) == [*np.minimum.accumulate(values), min(values)]
    assert list(lines["pruned, at its lowest"].get_xdata()) == [
        trial.number + 1 for trial in twelve.trials(TrialState.PRUNED)
    ]
    (importance,) = drawn_by(lambda: _importance(twelve, REAL))
    shares = optuna.importance.get_param_importances(twelve.study)
    assert [bar.get_width() for bar in importance.axes[0].patches] == list(shares.values())[::-1]


def test_a_search_without_a_finished_trial_has_no_figure_and_one_of_few_no_importances():
    found = search(**LISTS)
    assert search_figures(found, source=REAL) == {}
    proposal = found.propose()
    found.tell(proposal, ended(proposal))
    assert found.importances() == {}
    assert set(search_figures(found, source=REAL)) == {"optimization_history"}
