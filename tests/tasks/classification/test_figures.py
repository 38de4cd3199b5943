from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from models.classifier.epoch_metrics import EpochMetrics
from tasks.classification import figures
from tasks.classification.predictions import Predictions
from tasks.records.classification import ProbeRecord
from tests.support.figures import REAL
from tests.tasks.classification.pictures import assert_sound, nothing_is_cut_off, pixels

TWO = ("normal", "pneumonia")
SEVEN = (
    "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
    "dermatofibroma", "melanoma", "melanocytic nevi", "immature granulocytes(myelocytes, metamyelocytes)",
)  # fmt: skip


def case(size=120, seed=0):
    random = np.random.default_rng(seed)
    labels = (random.random(size) < 0.65).astype(np.int64)
    probabilities = np.clip(random.normal(0.3 + 0.4 * labels, 0.22), 0, 1)
    images = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
    maps = random.random((size, 2, 28, 28)).astype(np.float32)
    return images, maps, probabilities, labels


def colour_case(size=150, seed=0):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(size) % len(SEVEN))
    weights = random.gamma(1.0, size=(size, len(SEVEN))) + 2 * np.eye(len(SEVEN))[labels]
    images = random.integers(0, 256, (size, 28, 28, 3), dtype=np.uint8)
    maps = random.random((size, 2, 28, 28)).astype(np.float32)
    return images, maps, weights / weights.sum(axis=1, keepdims=True), labels


def drawings(images, maps, probabilities, labels, threshold, class_names):
    found = Predictions(probabilities, labels, threshold, class_names)
    sharper = probabilities**2 if probabilities.ndim == 1 else probabilities**2 / (probabilities**2).sum(1)[:, None]
    return {
        "confusion_matrix": partial(figures.confusion_matrix, found),
        "roc_curve": partial(figures.roc_curve, found),
        "precision_recall_curve": partial(figures.precision_recall_curve, found),
        "reliability_diagram": partial(figures.reliability_diagram, sharper, found),
        "failure_cases": partial(figures.failure_cases, images, found, limit=8),
        "grad_cam_montage": partial(figures.grad_cam_montage, images, maps, found, cases=2),
    }


HISTORY = [EpochMetrics(n, 0.6 / n, 0.7 / n, 1 - 0.3 / n, 1e-3 / n, 10.0, 0) for n in range(1, 9)]
PROBE = ProbeRecord(
    strength=0.01, candidates=tuple((10.0**n, 0.2 + 0.01 * n**2, 0.99 - 0.01 * n**2) for n in range(-6, 2))
)
IMAGES, MAPS, PROBABILITIES, LABELS = case()
COLOUR_CASE = colour_case()
DRAWINGS = {
    "training_curves": partial(figures.training_curves, HISTORY, 7),
    "regularisation": partial(figures.regularisation_curves, PROBE),
    **drawings(IMAGES, MAPS, PROBABILITIES, LABELS, 0.5, TWO),
}
DRAWINGS_OF_SEVEN = drawings(*COLOUR_CASE, None, SEVEN)


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_repeats_has_something_on_it_and_says_when_it_shows_phantoms(name):
    assert_sound(DRAWINGS[name])


@pytest.mark.parametrize("name", DRAWINGS_OF_SEVEN)
def test_a_figure_of_more_classes_has_room_for_long_names(name):
    drawn = pixels(DRAWINGS_OF_SEVEN[name](source=REAL))
    assert (drawn < 0.9).any(axis=-1).mean() > 0.005
    assert nothing_is_cut_off(drawn)


def test_the_threshold_moves_what_depends_on_it():
    low, high = (Predictions(PROBABILITIES, LABELS, threshold, TWO) for threshold in (0.5, 0.6))
    for draw in (figures.confusion_matrix, figures.roc_curve, figures.precision_recall_curve):
        assert draw(low, source=REAL) != draw(high, source=REAL)


def test_the_kept_epoch_is_marked():
    first = figures.training_curves(HISTORY, 7, source=REAL)
    assert first != figures.training_curves(HISTORY, 3, source=REAL)
    changed = [*HISTORY[:-1], replace(HISTORY[-1], val_loss=0.5)]
    assert first != figures.training_curves(changed, 7, source=REAL)


def test_a_montage_of_the_explained_cases_alone_is_that_of_all():
    images, maps, probabilities, labels = COLOUR_CASE
    found = Predictions(probabilities, labels, None, SEVEN)
    shown = found.explained_cases(2)
    draw = partial(figures.grad_cam_montage, cases=2, source=REAL)
    whole = draw(images, maps, found)
    of_shown = (images[shown], maps[shown], found.take(shown))
    assert draw(*of_shown, numbers=shown) == whole
    assert draw(*of_shown) != whole  # other numbers
    assert draw(images, maps[:, ::-1], found) != whole


def test_images_in_colour_are_drawn_in_colour():
    drawn = pixels(DRAWINGS_OF_SEVEN["failure_cases"](source=REAL))[..., :3]
    middle = drawn[drawn.shape[0] // 3 :]
    assert (np.ptp(middle, axis=-1) > 0.5).mean() > 0.05


def test_a_perfect_classifier_leaves_no_failures_and_still_has_figures():
    images, maps, _, labels = COLOUR_CASE
    for drawn in (
        drawings(IMAGES, MAPS, LABELS.astype(float), LABELS, 0.5, TWO),
        drawings(images, maps, np.eye(len(SEVEN))[labels], labels, None, SEVEN),
    ):
        for name in ("failure_cases", "grad_cam_montage", "reliability_diagram"):
            assert (pixels(drawn[name](source=REAL)) < 0.9).any()


def test_one_failure_and_one_epoch_are_enough():
    probabilities = LABELS.astype(float)
    probabilities[4] = 1 - probabilities[4]
    drawn = figures.failure_cases(IMAGES, Predictions(probabilities, LABELS, 0.5, TWO), source=REAL)
    assert (pixels(drawn) < 0.9).any()
    assert (pixels(figures.training_curves(HISTORY[:1], 1, source=REAL)) < 0.9).any()
