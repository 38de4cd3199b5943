import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tasks.retrieval.figures.projection import projection_scatter
from tasks.shared.figures import BAD, CLASS_COLORS
from tests.support.figures import REAL
from tests.tasks.retrieval.figures.pictures import pixels, require_repeatable_and_watermarked


def drawn(source=REAL, **changed):
    generator = np.random.default_rng(0)
    arrays = {
        "tsne": generator.normal(size=(60, 2)),
        "umap": generator.normal(size=(60, 2)),
        "labels": np.repeat([0, 1], 30),
        "correct": np.arange(60) % 3 > 0,
        "confidence": generator.uniform(0.5, 1, 60),
        "failed": np.arange(60) % 10 == 0,
        "class_names": ("normal", "pneumonia"),
    }
    return projection_scatter(**arrays | changed, failure="no hit in 5", source=source)


def colored(png, color):
    """Pixels of a hue that a translucent dot of the colour has on white, left to right by third of the figure."""
    mixed = 1 - 0.75 * (1 - np.array(to_rgb(color)))
    found = np.abs(pixels(png)[:-160] - mixed).max(axis=2) < 0.02  # above the legend
    return [int(third.sum()) for third in np.array_split(found, 3, axis=1)]


def test_the_figure_repeats_and_phantoms_are_watermarked():
    require_repeatable_and_watermarked(drawn)


def test_each_column_has_its_colours():
    png = drawn()
    normal, pneumonia, wrong = (colored(png, color) for color in (*CLASS_COLORS, BAD))
    assert normal[0] > 300 > 30 > normal[1]
    assert pneumonia[0] > 300 > 30 > pneumonia[1]
    assert wrong[1] > 300 > 30 > wrong[0]
    assert colored(drawn(correct=np.ones(60, dtype=bool)), BAD)[1] == 0


@pytest.mark.parametrize("change", ["confidence", "umap", "failed"])
def test_every_array_is_drawn(change):
    generator = np.random.default_rng(1)
    other = {
        "confidence": generator.uniform(0.5, 1, 60), "umap": generator.normal(size=(60, 2)),
        "failed": np.arange(60) % 10 == 3,
    }  # fmt: skip
    differs = (pixels(drawn()) != pixels(drawn(**{change: other[change]}))).any(axis=2)
    halves = [half.mean() for half in np.split(differs, [differs.shape[0] // 2 - 60], axis=0)]
    assert halves[1] > 1e-3
    assert (halves[0] > 1e-3) == (change != "umap")
