import numpy as np
import pytest

from models.explanation.deletion_insertion import PixelRemoval
from models.explanation.weight_randomisation import WeightRandomisation
from tasks.classification.explanation.report import (
    explanation_metrics,
    explanation_report,
    maps_of_other_images,
    spread_sample,
    two_way_interval,
)

CLASS_NAMES = ("normal", "pneumonia")


def randomisation(correlations, stages=("head", "stage", "stem")):
    """Maps of Grad-CAM with the given rank correlations, shape (draws, images), at the last stage; edges stay alike."""
    shape = 2, len(stages), *np.shape(correlations)
    values = np.full(shape, 0.6)
    values[0, -1] = correlations
    values[1] = 1
    return WeightRandomisation(
        ("Grad-CAM", "edges"), stages, values, values / 2, values < -2, np.full((2, shape[-1]), 0.2),
        np.random.default_rng(0).random((2, len(stages) + 1, 3, 8, 8)).astype(np.float32),
    )  # fmt: skip


def removal(deletion, insertion, images=20):
    """Level curves whose areas are the given ones, Grad-CAM's and random; Grad-CAM's are .02 more or less an image."""
    unsure = np.zeros((2, images, 5))
    unsure[0] = 0.02 * (-1.0) ** (np.arange(images) // 2)[:, None]
    curves = (np.array(areas)[:, None, None] + unsure for areas in (deletion, insertion))
    return PixelRemoval(("Grad-CAM", "random patches"), np.arange(images) % 2, *curves)


def test_the_sample_holds_the_classes_in_turn():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 3)
    chosen = spread_sample(labels, 12)
    assert len(set(chosen.tolist())) == 12
    assert labels[chosen].tolist() == [0, 1, 2] * 3 + [0, 1, 0]
    assert spread_sample(labels, 12).tolist() == chosen.tolist()
    assert spread_sample(labels, 12, seed=1).tolist() != chosen.tolist()
    assert sorted(spread_sample(labels, 999)) == list(range(83))


def test_another_images_map_has_the_same_target():
    targets = np.array([0, 1, 0, 1, 1, 2])
    maps = np.arange(1.0, 7)[:, None, None] * np.ones((6, 4, 4))
    others = maps_of_other_images(maps, targets)[:, 0, 0]
    assert others[5] == 0, "no other image has this target"
    for index in range(5):
        donor = int(others[index]) - 1
        assert donor != index
        assert targets[donor] == targets[index]


def test_the_interval_covers_draws_and_images():
    random = np.random.default_rng(3)
    values = random.normal(0, 0.3, (5, 1)) + random.normal(0, 0.1, (1, 40)) + random.normal(0, 0.05, (5, 40))
    naive = [values[np.ix_(random.integers(0, 5, 5), random.integers(0, 40, 40))].mean() for _ in range(4000)]
    np.testing.assert_allclose(two_way_interval(values), np.percentile(naive, [2.5, 97.5]), atol=0.03)
    low, high = two_way_interval(values)
    assert high - low > 5 * 2 * 1.96 * values.std() / np.sqrt(values.size), "images of one draw are not independent"


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        (np.full((4, 10), 0.05), "**The maps depend on the model**"),
        (np.full((4, 10), 0.9), "**The maps do not show that they depend on the model**"),
        (np.array([[0.9] * 10, [-0.2] * 10, [0.5] * 10]), "**The check is undecided**"),
        (np.full((4, 10), -0.8), "**The check is undecided**"),
    ],
)
def test_the_verdict_on_the_model(last, verdict):
    report = explanation_report(randomisation(last), removal([0.4, 0.6], [0.8, 0.6]), class_names=CLASS_NAMES)
    assert verdict in report


@pytest.mark.parametrize(
    ("deletion", "insertion", "verdict"),
    [
        ([0.4, 0.6], [0.8, 0.6], "**The maps point at what the model uses**"),
        ([0.4, 0.6], [0.6, 0.6], "only in part**: they beat random patches in deletion alone"),
        ([0.6, 0.6], [0.6, 0.6], "**The maps are not shown to point"),
        ([0.7, 0.6], [0.8, 0.6], "**The maps mislead**: in deletion they do worse"),
        ([0.59, 0.6], [0.61, 0.6], "**The maps are not shown to point"),
    ],
)
def test_the_verdict_on_what_the_model_uses(deletion, insertion, verdict):
    curves = removal(deletion, insertion)
    report = explanation_report(randomisation(np.zeros((2, 5))), curves, class_names=CLASS_NAMES)
    assert verdict in report


def test_the_report_holds_the_numbers():
    report = explanation_report(
        randomisation(np.full((4, 20), 0.125)), removal([0.4, 0.6], [0.8, 0.55]), class_names=CLASS_NAMES
    )
    assert "| head | 0.600 | 0.600 to 0.600 | 0.300 | 0.0% | 1.000 |" in report
    assert "| … and stem | 0.125 | 0.125 to 0.125 |" in report
    assert "4 networks, 20 images" in report
    assert "rank correlation of 0.200" in report
    assert "in 4 steps" in report
    assert "| normal | 10 |" in report
    assert "| pneumonia | 10 |" in report
    (random,) = [line for line in report.splitlines() if line.startswith("| random patches")]
    assert random.startswith("| random patches | 0.600 | 0.550 | +0.200 (+0.19")
    assert "| +0.250 (+0.24" in random


def test_the_metrics_are_those_of_grad_cam_against_random_order():
    last = np.array([[0.1, 0.2], [0.3, 0.4]])
    curves = removal([0.4, 0.6], [0.8, 0.55])
    metrics = explanation_metrics(randomisation(last), curves)
    assert metrics["explanation/untrained_rank_correlation"] == pytest.approx(0.25)
    assert metrics["explanation/deletion"] == pytest.approx(0.4)
    assert metrics["explanation/deletion_gain"] == pytest.approx(0.2)
    assert metrics["explanation/insertion"] == pytest.approx(0.8)
    assert metrics["explanation/insertion_gain"] == pytest.approx(0.25)
    for name in ("untrained_rank_correlation", "deletion_gain", "insertion_gain"):
        name = f"explanation/{name}"
        assert metrics[f"{name}_ci_low"] < metrics[name] < metrics[f"{name}_ci_high"]
