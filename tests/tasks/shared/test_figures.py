import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tasks.shared.figures import (
    CLASS_COLORS,
    SHOWN_WIDTH,
    Sheet,
    class_colors,
    frames,
    image_grid,
    new_figure,
    render_png,
    sentence,
    short_name,
)
from tests.support.figures import (
    PHANTOMS,
    RANDOM_WEIGHTS,
    REAL,
    cut_off_in,
    drawn_by,
    letters_of,
    most_columns_of,
    require_legible,
)


def _line(height=3):
    figure = new_figure(height)
    figure.subplots().plot([0, 1], [0, 1])
    return figure


def _png(source=REAL, height=3, **options):
    return render_png(_line(height), source, title="A line", shown="test, 2 images", **options)


def _pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_the_same_figure_gives_the_same_bytes():
    assert _png() == _png()


def test_a_figure_is_twice_as_wide_as_it_is_shown():
    assert _pixels(_png()).shape[1] == 2 * SHOWN_WIDTH
    assert _pixels(render_png(sentence("Nothing."), REAL, title="None")).shape[1] == 2 * SHOWN_WIDTH


def test_what_frames_the_body_is_legible_and_names_what_is_shown():
    require_legible(_png)
    (figure,) = drawn_by(_png)
    assert {"A line", "somemnist · test, 2 images · compact28, seed 0"} <= set(letters_of(figure))


@pytest.mark.parametrize("names", [["a"], ["one class", "another class"] * 4, ["a name that is very long " * 3] * 2])
def test_long_titles_and_legends_stay_on_the_figure(names):
    def draw():
        legend = frames(["red"] * len(names), names)
        render_png(_line(), replace(REAL, model="word " * 40), title="A long title " * 20, legend=legend)

    (figure,) = drawn_by(draw)
    assert not cut_off_in(figure)


def test_small_letters_wide_rows_and_cut_texts_are_noticed():
    def draw():
        sheet = Sheet(2)
        sheet.text(1, 1, "small", fontsize=6)
        sheet.text(6.5, 1, "over the edge")
        for column in range(7):
            sheet.image(np.zeros((8, 8), np.uint8), column * 0.9, 0, 0.8)
        render_png(sheet.figure, REAL, title="Bad")

    (figure,) = drawn_by(draw)
    assert letters_of(figure)["small"] < 9
    assert cut_off_in(figure) == ["over the edge"]
    assert most_columns_of(figure) == 7
    with pytest.raises(AssertionError):
        require_legible(draw)


def test_a_figure_is_drawn_once(monkeypatch):
    drawn, draw = [], Figure.draw

    def counted(figure, renderer):
        drawn.append(figure)
        return draw(figure, renderer)

    monkeypatch.setattr(Figure, "draw", counted)
    _png(REAL)
    assert len(drawn) == 1


def test_phantoms_are_written_across_the_figure():
    plain, marked = (_pixels(_png(source)) for source in (REAL, PHANTOMS))
    assert plain.shape == marked.shape
    changed = (plain != marked).any(axis=2)
    height, width = changed.shape
    assert changed[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].mean() > 0.02


@pytest.mark.parametrize("cells", [0, 1, 5])
def test_a_grid_shows_every_image_and_survives_none(cells):
    images = np.full((cells, 8, 8), 90, dtype=np.uint8)
    figure = image_grid(
        images, [f"image {cell}" for cell in range(cells)], columns=3, frame_colors=["red", "blue", "red"] * 2
    )
    assert [len(axis.images) for axis in figure.axes] == [cells]
    assert render_png(figure, REAL, title="Grid").startswith(b"\x89PNG")


def test_overlays_and_frames_are_drawn():
    sheet = Sheet(1)
    sheet.image(np.zeros((8, 8), np.uint8), 0, 0, 1, frame="red", overlay=np.ones((8, 8)))
    sheet.image(np.zeros((8, 4, 3), np.uint8), 2, 0, 1, frame="blue")
    assert [tuple(image.get_extent()) for image in sheet.axis.images] == [(0, 1, 1, 0)] * 2 + [(2, 2.5, 1, 0)]
    assert [patch.get_edgecolor()[:3] for patch in sheet.axis.patches] == [(1, 0, 0), (0, 0, 1)]


def test_random_weights_are_written_across_the_figure():
    both = replace(PHANTOMS, random_weights=True)
    plain, marked, twice = (_pixels(_png(source)) for source in (REAL, RANDOM_WEIGHTS, both))
    height, width, _ = plain.shape
    for one, other in ((plain, marked), (marked, twice)):
        changed = (one != other).any(axis=2)
        assert changed[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].mean() > 0.02


def test_a_tall_figure_is_marked_from_top_to_bottom():
    plain, marked = (_pixels(_png(source, height=20)) for source in (REAL, PHANTOMS))
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
