import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tasks.shared.figures import CLASS_COLORS, class_colors, image_grid, new_figure, render_png, short_name


def _line():
    figure = new_figure(4, 3)
    figure.subplots().plot([0, 1], [0, 1])
    return figure


def _pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_the_same_figure_gives_the_same_bytes():
    assert render_png(_line(), phantoms=False) == render_png(_line(), phantoms=False)


def test_a_figure_is_drawn_once(monkeypatch):
    drawn, draw = [], Figure.draw

    def counted(figure, renderer):
        drawn.append(figure)
        return draw(figure, renderer)

    monkeypatch.setattr(Figure, "draw", counted)
    render_png(_line(), phantoms=False)
    assert len(drawn) == 1


def test_phantoms_are_written_across_the_figure():
    plain, marked = (_pixels(render_png(_line(), phantoms=phantoms)) for phantoms in (False, True))
    assert plain.shape == marked.shape
    changed = (plain != marked).any(axis=2)
    height, width = changed.shape
    assert changed[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].mean() > 0.02


@pytest.mark.parametrize("cells", [0, 1, 5])
def test_a_grid_shows_every_image_and_survives_none(cells):
    images = np.full((cells, 8, 8), 90, dtype=np.uint8)
    figure = image_grid(images, [f"image {cell}" for cell in range(cells)], columns=3, title="Grid")
    assert sum(len(axis.images) for axis in figure.axes) == cells
    assert render_png(figure, phantoms=False).startswith(b"\x89PNG")


def test_overlays_and_frames_are_drawn():
    images = np.zeros((2, 8, 8), dtype=np.uint8)
    overlays = np.ones((2, 8, 8)) * [[[0.0]], [[1.0]]]
    figure = image_grid(images, ["a", "b"], columns=2, title="Grid", overlays=overlays, frame_colors=["red", "blue"])
    assert [len(axis.images) for axis in figure.axes] == [2, 2]
    assert [axis.spines["left"].get_edgecolor()[:3] for axis in figure.axes] == [(1, 0, 0), (0, 0, 1)]


def test_random_weights_are_written_across_the_figure():
    plain, marked, both = (
        _pixels(render_png(_line(), phantoms=phantoms, random_weights=random_weights))
        for phantoms, random_weights in ((False, False), (False, True), (True, True))
    )
    height, width, _ = plain.shape
    for one, other in ((plain, marked), (marked, both)):
        changed = (one != other).any(axis=2)
        assert changed[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].mean() > 0.02


def test_a_tall_figure_is_marked_from_top_to_bottom():
    plain, marked = (_pixels(render_png(new_figure(3, 12), phantoms=phantoms)) for phantoms in (False, True))
    changed = (plain != marked).any(axis=(1, 2))
    assert all(part.any() for part in np.array_split(changed, 4))


def test_every_class_has_a_colour_of_its_own():
    assert tuple(class_colors(2)) == CLASS_COLORS
    for count in (3, 11, 20):
        assert len(set(class_colors(count))) == count
    assert class_colors(21)[20] == class_colors(3)[0]


def test_long_names_are_cut_after_a_word():
    assert short_name("melanoma", 8) == "melanoma"
    assert short_name("Collecting Duct, Connecting Tubule", 18) == "Collecting Duct…"
    cut = short_name("electroencephalography", 10)
    assert cut == "electroen…"
    assert len(short_name("actinic keratoses and intraepithelial carcinoma", 26)) <= 26
