import pytest

from models.errors import InputError
from tasks.classification.sweep.grid import AXES, grid
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters


def test_every_combination_meets_every_seed_and_the_first_seed_comes_first():
    training = TrainingParameters(architecture="compact28", epochs=7, seed=9)
    trials = grid(training, SweepParameters(learning_rates=[0.1, 0.2], mixups=[0, 0.4, 1], seeds=[5, 3]), classes=2)
    expected = [(5, 0.1, 0), (5, 0.1, 0.4), (5, 0.1, 1), (5, 0.2, 0), (5, 0.2, 0.4), (5, 0.2, 1)]
    expected += [(3, 0.1, 0), (3, 0.1, 0.4), (3, 0.1, 1), (3, 0.2, 0), (3, 0.2, 0.4), (3, 0.2, 1)]
    assert [(t.training.seed, t.training.learning_rate, t.training.mixup) for t in trials] == expected
    assert {(t.training.architecture, t.training.epochs) for t in trials} == {("compact28", 7)}
    assert trials[1].settings == {"learning_rate": 0.1, "mixup": 0.4}


def test_without_lists_only_the_seeds_differ():
    trials = grid(TrainingParameters(), SweepParameters(seeds=[1, 2]), classes=2)
    assert [trial.training for trial in trials] == [TrainingParameters(seed=seed) for seed in (1, 2)]
    assert [trial.settings for trial in trials] == [{}, {}]


def test_every_list_of_the_form_is_an_axis_of_the_training_form():
    others = {"search", "trials", "startup_trials", "prune_after", "seeds", "at_once"}
    assert {*AXES, *others} == set(SweepParameters.model_fields)
    assert set(AXES.values()) <= set(TrainingParameters.model_fields)


@pytest.mark.parametrize(
    ("sweep", "training", "classes", "told"),
    [
        ({"learning_rates": [0.1, 0.2, 0.1]}, {}, 2, "sweep.learning_rates names 0.1 more than once"),
        ({"seeds": [0, 0]}, {}, 2, "sweep.seeds names 0 more than once"),
        ({"seeds": list(range(201))}, {}, 2, "201 networks"),
        ({"epochs": list(range(1, 68)), "seeds": [0, 1, 2]}, {}, 2, "67 combinations × 3 seeds"),
        ({"losses": ["bce", "cross_entropy"]}, {}, 2, "cross_entropy"),
        ({"trials": 5}, {}, 2, "--sweep.trials is for a search"),
        ({}, {"loss": "balanced_bce"}, 9, "balanced_bce"),
        ({"losses": ["bce", "focal"], "label_smoothings": [0, 0.1]}, {}, 2, "takes no label smoothing"),
        ({"architectures": ["compact28", "resnet18_gray"]}, {"pretrained": "a.pth"}, 2, "a.pth, a file that fits one"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(sweep, training, classes, told):
    with pytest.raises(InputError, match=told):
        grid(TrainingParameters(**training), SweepParameters(**sweep), classes)


def test_two_hundred_trainings_are_allowed():
    assert len(grid(TrainingParameters(), SweepParameters(seeds=list(range(200))), classes=2)) == 200


@pytest.mark.parametrize(
    "fields", [{"seeds": []}, {"learning_rates": [0]}, {"losses": ["hinge"]}, {"seeds": [-1]}, {"at_once": 0}]
)
def test_the_form_takes_only_what_the_training_form_takes(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        SweepParameters(**fields)


def test_the_form_offers_the_choices_of_the_training_form():
    shown, training = SweepParameters.model_json_schema(), TrainingParameters.model_json_schema()
    for axis in ("architectures", "losses", "schedules", "augmentations"):
        offered = shown["properties"][axis]["items"]["enum"]
        assert offered == training["properties"][AXES[axis]]["enum"]
