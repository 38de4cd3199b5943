"""What the tests of figures look at."""

import io
from functools import partial

from matplotlib.image import imread

from tests.support.figures import PHANTOMS, REAL, require_legible


def pixels(png):
    return imread(io.BytesIO(png), format="png")


def nothing_is_cut_off(drawn):
    """Tell whether the outermost pixels are paper."""
    return all((edge > 0.97).all() for edge in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]))


def assert_sound(draw):
    """The figure repeats, has something on it, is whole, and says when it shows phantoms."""
    png = require_legible(partial(draw, source=REAL))
    assert draw(source=REAL) == png
    drawn, marked = pixels(png), pixels(draw(source=PHANTOMS))
    assert drawn.shape == marked.shape
    assert (drawn < 0.9).any(axis=-1).mean() > 0.005
    assert (drawn != marked).any()
    assert nothing_is_cut_off(drawn)
