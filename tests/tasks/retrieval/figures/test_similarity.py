import numpy as np
from matplotlib.colors import to_rgb

from models.explanation.similarity_maps import MaskingDrop, SimilarityMaps
from tasks.retrieval.figures.similarity import masking_bars, similarity_rows
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED
from tests.support.figures import REAL
from tests.tasks.retrieval.figures.pictures import area, pixels, require_repeatable_and_watermarked


def rows(found=(0, 1), source=REAL, place=(1, 1), colour=False):
    images = np.random.default_rng(0).integers(0, 255, (2, 2, 28, 28), dtype=np.uint8)
    if colour:
        images = np.repeat(images[..., None], 3, axis=-1)
    maps = np.full((2, 7, 7), 0.01, dtype=np.float32)
    maps[:, *place] = 0.4
    return similarity_rows(
        images[0], images[1], ["test 3", "test 4"], ["train 8", "train 9"], np.array([0, 1]), np.array(found),
        SimilarityMaps(maps, maps, np.full(2, 0.88, dtype=np.float32)), ("normal", "pneumonia"),
        title="Pairs", source=source,
    )  # fmt: skip


def test_the_figures_repeat_and_phantoms_are_watermarked():
    drop = MaskingDrop(0.2, ("highest", "lowest"), np.array([[0.3, 0.2, 0.1], [0.0, 0.1, 0.0]]))
    for draw in (rows, lambda source: masking_bars(drop, samples=50, seed=0, source=source)):
        require_repeatable_and_watermarked(draw)


def test_frames_say_whether_the_neighbour_has_the_query_s_class():
    right, mixed, wrong = (rows(found) for found in ((0, 1), (0, 0), (1, 0)))
    legend = {GOOD: area(wrong, GOOD), BAD: area(right, BAD)}
    assert area(right, GOOD) - legend[GOOD] > 500
    for color, every in ((GOOD, right), (BAD, wrong)):
        drawn = area(every, color) - legend[color]
        assert abs(area(mixed, color) - legend[color] - drawn / 2) < 0.05 * drawn


def test_the_overlay_is_where_the_map_is_and_on_the_maps_columns_only():
    differs = (pixels(rows(place=(0, 0))) != pixels(rows(place=(0, 6)))).any(axis=2)
    left, right = np.split(differs, [int(0.45 * differs.shape[1])], axis=1)
    assert left.mean() == 0
    assert right.mean() > 0.02


def test_colour_images_are_drawn():
    assert np.abs(pixels(rows(colour=True)) - pixels(rows())).mean() < 0.01


def test_bars_are_as_long_as_the_mean_fall():
    falls = np.array([[0.3, 0.3, 0.3], [0.1, 0.1, 0.1]])
    image = pixels(masking_bars(MaskingDrop(0.2, ("highest", "lowest"), falls), samples=50, seed=0, source=REAL))
    bars = [np.abs(image - to_rgb(color)).max(axis=2) < 0.02 for color in (CLASS_COLORS[0], MUTED)]
    lengths = [bar[120:-60].sum(axis=1).max() for bar in bars]  # between the subtitle and the notice, both grey
    assert abs(lengths[0] / lengths[1] - 3) < 0.1
