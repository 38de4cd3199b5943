import numpy as np
import pytest
import torch

from tasks.cases.heat_overlay import HALF, enlarge, heat_overlay
from tasks.shared.heat_colours import lay_over
from tasks.shared.model_size import to_model_size

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("cells", "side"), [(28, 281), (28, 28), (7, 100)])
def test_a_map_is_enlarged_as_pytorch_does(cells: int, side: int):
    heat = RANDOM.random((cells, cells)).astype(np.float32)
    tensor = torch.from_numpy(heat)[None, None]
    expected = torch.nn.functional.interpolate(tensor, (side, side), mode="bilinear", align_corners=False)
    assert np.abs(enlarge(heat, side) - expected[0, 0].numpy()).max() < 1e-5


@pytest.mark.parametrize(("height", "width"), [(90, 200), (200, 90), (120, 120), (91, 200), (28, 28)])
def test_only_the_square_that_the_classifier_saw_is_coloured(height: int, width: int):
    picture = RANDOM.integers(0, 256, (height, width), dtype=np.uint8)
    heat = np.full((28, 28), 0.4)  # without a line
    overlay = heat_overlay(picture, heat)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.zeros((height, width), bool)
    square[top : top + side, left : left + side] = True
    assert (overlay[square] == lay_over(picture, np.full((height, width), 0.4))[square]).all()
    outside = overlay[~square]
    assert (outside == outside[:, :1]).all()  # grey
    assert (outside[:, 0] == np.round(0.4 * picture[~square] + 0.6 * 110)).all()


@pytest.mark.parametrize(("height", "width"), [(300, 500), (560, 300), (400, 400)])
@pytest.mark.parametrize("place", [(0.2, 0.3), (0.8, 0.6)])
def test_the_heat_lies_where_the_classifier_saw_what_it_is_about(height: int, width: int, place: tuple[float, float]):
    """A bright spot is shrunk to the classifier's size, taken as the heat, and is hot where it was in the picture."""
    side = min(height, width)
    row = round((height - side) / 2 + place[0] * side)
    column = round((width - side) / 2 + place[1] * side)
    picture = np.zeros((height, width), np.uint8)
    reach = side // 28
    picture[row - reach : row + reach, column - reach : column + reach] = 255
    heat = to_model_size(picture, 28) / 255
    overlay = heat_overlay(np.zeros_like(picture), heat).astype(int)
    redness = overlay[..., 0] - overlay[..., 2]
    redness[(overlay == 255).all(axis=2)] = -255  # the line
    rows, columns = np.nonzero(redness == redness.max())
    assert abs(rows.mean() - row) <= reach
    assert abs(columns.mean() - column) <= reach


def test_a_white_line_surrounds_where_at_least_half_of_the_heat_is():
    heat = np.zeros((28, 28))
    heat[5:12, 3:9] = 1
    side = 196
    overlay = heat_overlay(np.zeros((side, side), np.uint8), heat)
    white = (overlay == 255).all(axis=2)
    hot = enlarge(heat, side) >= HALF
    for row in range(side):
        for column in range(side):
            near = hot[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            assert white[row, column] == (hot[row, column] and not near.all())


@pytest.mark.parametrize("level", [0, 1])
def test_without_a_border_between_more_and_less_heat_there_is_no_line(level: int):
    overlay = heat_overlay(np.zeros((60, 90), np.uint8), np.full((28, 28), float(level)))
    assert not (overlay == 255).all(axis=2).any()


def test_a_picture_of_one_row_has_a_map():
    assert heat_overlay(np.zeros((1, 500), np.uint8), np.ones((28, 28))).shape == (1, 500, 3)
