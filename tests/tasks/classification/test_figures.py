import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from models.training import EpochMetrics
from tasks.classification import figures


def case(size=120, seed=0):
    random = np.random.default_rng(seed)
    labels = (random.random(size) < 0.65).astype(np.int64)
    probabilities = np.clip(random.normal(0.3 + 0.4 * labels, 0.22), 0, 1)
    images = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
    maps = random.random((size, 28, 28)).astype(np.float32)
    return images, maps, probabilities, labels


HISTORY = [EpochMetrics(n, 0.6 / n, 0.7 / n, 1 - 0.3 / n, 1e-3 / n, 10.0, 0) for n in range(1, 9)]
IMAGES, MAPS, PROBABILITIES, LABELS = case()
DRAWINGS = {
    "training_curves": lambda **options: figures.training_curves(HISTORY, 7, **options),
    "confusion_matrix": lambda **options: figures.confusion_matrix(PROBABILITIES, LABELS, 0.5, **options),
    "roc_curve": lambda **options: figures.roc_curve(PROBABILITIES, LABELS, 0.5, **options),
    "precision_recall_curve": lambda **options: figures.precision_recall_curve(PROBABILITIES, LABELS, 0.5, **options),
    "reliability_diagram": lambda **options: figures.reliability_diagram(
        PROBABILITIES, PROBABILITIES**2, LABELS, **options
    ),
    "failure_cases": lambda **options: figures.failure_cases(IMAGES, PROBABILITIES, LABELS, 0.5, **options),
    "grad_cam_montage": lambda **options: figures.grad_cam_montage(IMAGES, MAPS, PROBABILITIES, LABELS, 0.5, **options),
}


def pixels(png):
    return imread(io.BytesIO(png), format="png")


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_repeats_has_something_on_it_and_says_when_it_shows_phantoms(name):
    png = DRAWINGS[name](phantoms=False)
    assert DRAWINGS[name](phantoms=False) == png
    drawn, marked = pixels(png), pixels(DRAWINGS[name](phantoms=True))
    assert drawn.shape == marked.shape
    assert (drawn < 0.9).any(axis=-1).mean() > 0.005
    assert (drawn != marked).any()
    # Nothing may be cut off: the outermost pixels are paper.
    for edge in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
        assert (edge > 0.97).all()


def test_the_threshold_moves_what_depends_on_it():
    for draw in (figures.confusion_matrix, figures.roc_curve, figures.precision_recall_curve):
        assert draw(PROBABILITIES, LABELS, 0.5, phantoms=False) != draw(PROBABILITIES, LABELS, 0.6, phantoms=False)


def test_the_kept_epoch_is_marked():
    first = figures.training_curves(HISTORY, 7, phantoms=False)
    assert first != figures.training_curves(HISTORY, 3, phantoms=False)
    changed = [*HISTORY[:-1], replace(HISTORY[-1], val_loss=0.5)]
    assert first != figures.training_curves(changed, 7, phantoms=False)


def test_errors_are_sorted_by_how_sure_they_were():
    probabilities = np.array([0.9, 0.8, 0.3, 0.05, 0.2, 0.8])
    labels = np.array([1, 0, 1, 1, 0, 0])
    assert figures.most_confident_errors(probabilities, labels, 0.5).tolist() == [3, 1, 5, 2]
    assert figures.most_confident_errors(probabilities, labels, 0.85).tolist() == [3, 2]


def test_outcomes_are_named():
    probabilities, labels = np.array([0.9, 0.1, 0.9, 0.1]), np.array([1, 0, 0, 1])
    named = [figures.OUTCOMES[kind] for kind in figures.outcomes(probabilities, labels, 0.5)]
    assert named == ["true positive", "true negative", "false positive", "false negative"]


def test_a_perfect_classifier_leaves_no_failures_and_still_has_figures():
    perfect = LABELS.astype(float)
    for png in (
        figures.failure_cases(IMAGES, perfect, LABELS, 0.5, phantoms=False),
        figures.grad_cam_montage(IMAGES, MAPS, perfect, LABELS, 0.5, phantoms=False),
        figures.reliability_diagram(perfect, perfect, LABELS, phantoms=False),
    ):
        assert (pixels(png) < 0.9).any()


def test_one_failure_and_one_epoch_are_enough():
    probabilities = LABELS.astype(float)
    probabilities[4] = 1 - probabilities[4]
    assert (pixels(figures.failure_cases(IMAGES, probabilities, LABELS, 0.5, phantoms=False)) < 0.9).any()
    assert (pixels(figures.training_curves(HISTORY[:1], 1, phantoms=False)) < 0.9).any()
