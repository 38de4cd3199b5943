import numpy as np
import pytest
from matplotlib.colors import to_rgb

from models.vector_index import Neighbours
from tasks.retrieval.figures import evaluation
from tasks.retrieval.metrics import chance
from tasks.retrieval.metrics.protocols import Protocol
from tasks.retrieval.metrics.ranking import evaluate
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD
from tests.support.figures import REAL
from tests.tasks.retrieval.figures.pictures import area, pixels, require_repeatable_and_watermarked

NAMES = ("normal", "pneumonia")


def protocol(k_values=(1, 5, 10)):
    generator = np.random.default_rng(0)
    labels, ids = np.repeat([0, 1], [15, 25]), np.arange(40)
    vectors = generator.normal(size=(40, 4)) + labels[:, None]
    result = evaluate(vectors, labels, vectors, labels, ids, ids, k_values)
    return Protocol("leave-one-out", result, chance.leave_one_out(labels, ids, k_values))


def drawn(name, **options):
    generator = np.random.default_rng(1)
    if name == "curves":
        return evaluation.precision_at_k_curves([protocol(), protocol()], NAMES, samples=50, seed=0, **options)
    if name == "bars":
        return evaluation.class_map_bars([protocol(), protocol()], NAMES, samples=50, seed=0, **options)
    images = generator.integers(0, 255, (8, 28, 28), dtype=np.uint8)
    neighbours = Neighbours(np.full((2, 3), 0.5, dtype=np.float32), np.arange(6).reshape(2, 3))
    return evaluation.gallery(
        images[:2], np.array([6, 7]), np.array([0, 1]), images[2:].reshape(2, 3, 28, 28),
        options.pop("found", np.array([[0, 0, 1], [1, 1, 1]])), neighbours, NAMES, title="Queries", **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["curves", "bars", "gallery"])
def test_a_figure_repeats_and_phantoms_are_watermarked(name):
    require_repeatable_and_watermarked(lambda source: drawn(name, source=source))


def test_frames_say_whether_the_class_is_the_query_s():
    mixed = pixels(drawn("gallery", source=REAL))
    right = pixels(drawn("gallery", source=REAL, found=np.array([[0, 0, 0], [1, 1, 1]])))
    wrong = pixels(drawn("gallery", source=REAL, found=np.array([[1, 1, 1], [0, 0, 0]])))
    legend = {GOOD: area(wrong, GOOD), BAD: area(right, BAD)}
    assert min(legend.values()) > 0
    assert area(mixed, GOOD) - legend[GOOD] == pytest.approx(5 / 6 * (area(right, GOOD) - legend[GOOD]), rel=0.05)
    assert area(mixed, BAD) - legend[BAD] == pytest.approx(1 / 6 * (area(wrong, BAD) - legend[BAD]), rel=0.05)


def test_bars_are_as_high_as_the_mean():
    measured = protocol()
    image = pixels(evaluation.class_map_bars([measured], NAMES, samples=50, seed=0, source=REAL))
    heights = []
    for color in CLASS_COLORS:
        match = np.abs(image - to_rgb(color)).max(axis=2) < 0.02
        rows = np.flatnonzero(match.sum(axis=1) > 60)  # the bar is wider than its patch in the legend
        heights.append(rows.max() - rows.min())
    expected = measured.result.mean("average_precision", 0) / measured.result.mean("average_precision", 1)
    assert heights[0] / heights[1] == pytest.approx(expected, rel=0.03)


def test_one_cutoff_and_one_class_are_enough():
    labels, ids = np.ones(12, dtype=int), np.arange(12)
    vectors = np.random.default_rng(2).normal(size=(12, 3))
    result = evaluate(vectors, labels, vectors, labels, ids, ids, [3])
    only = [Protocol("leave-one-out", result, chance.leave_one_out(labels, ids, [3]))] * 5
    assert evaluation.precision_at_k_curves(only, NAMES, samples=50, seed=0, source=REAL)
    assert evaluation.class_map_bars(only[:1], NAMES, samples=50, seed=0, source=REAL)
