from dataclasses import replace

import numpy as np
import pytest

from models.explanation.deletion_insertion import PixelRemoval
from models.explanation.weight_randomisation import WeightRandomisation
from tasks.classification.explanation import figures
from tests.support.figures import REAL
from tests.tasks.classification.pictures import assert_sound

RANDOM = np.random.default_rng(0)
STAGES = ("head", "features.8", "features.7", "stage2", "stem")
SHAPE = 2, len(STAGES), 3, 10
RANDOMISATION = WeightRandomisation(
    ("Grad-CAM", "edges"),
    STAGES,
    RANDOM.uniform(-0.2, 1, SHAPE),
    RANDOM.uniform(0, 1, SHAPE),
    np.zeros(SHAPE, np.bool_),
    RANDOM.uniform(0, 0.3, (2, 10)),
    RANDOM.random((2, len(STAGES) + 1, 4, 28, 28)).astype(np.float32),
)
REMOVAL = PixelRemoval(
    ("Grad-CAM", "map of another image", "brightest first", "random pixels", "random patches"),
    np.arange(10) % 2,
    RANDOM.random((5, 10, 11)),
    RANDOM.random((5, 10, 11)),
)

GREY = RANDOM.integers(0, 256, (4, 28, 28), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (4, 28, 28, 3), dtype=np.uint8)
DRAWINGS = {
    "curve": lambda **options: figures.randomisation_curve(RANDOMISATION, **options),
    "montage": lambda **options: figures.randomisation_montage(GREY, RANDOMISATION, **options),
    "colour montage": lambda **options: figures.randomisation_montage(COLOUR, RANDOMISATION, **options),
    "deletion and insertion": lambda **options: figures.deletion_insertion_curves(REMOVAL, **options),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_repeats_has_something_on_it_and_says_when_it_shows_phantoms(name):
    assert_sound(DRAWINGS[name])


def test_the_numbers_move_the_curves():
    moved = replace(RANDOMISATION, rank_correlations=RANDOMISATION.rank_correlations / 2)
    assert figures.randomisation_curve(moved, source=REAL) != DRAWINGS["curve"](source=REAL)
    for order in (0, 4):  # the first line and the last one
        insertion = REMOVAL.insertion.copy()
        insertion[order] /= 2
        drawn = figures.deletion_insertion_curves(replace(REMOVAL, insertion=insertion), source=REAL)
        assert drawn != DRAWINGS["deletion and insertion"](source=REAL)
