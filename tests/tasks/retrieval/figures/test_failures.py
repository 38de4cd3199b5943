import numpy as np
import pytest

from models.vector_index import Neighbours
from tasks.retrieval.analyses.failure_patterns import Effect, Pattern
from tasks.retrieval.figures import failures
from tasks.retrieval.figures.failures import NeighbourGroup
from tasks.shared.estimates import UNKNOWN, Estimate
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD
from tests.support.figures import REAL
from tests.tasks.retrieval.figures.pictures import area, pixels, require_repeatable_and_watermarked

EFFECTS = (
    Effect("brightness", "normal", 1.0, 2.0, Estimate(0.5, 0.3, 0.7, 50), 0.001, 0.002),
    Effect("brightness", "pneumonia", 1.0, 2.0, Estimate(-0.5, -0.7, -0.3, 50), 0.001, 0.002),
    Effect("confidence", "normal", 1.0, 2.0, Estimate(0.1, -0.3, 0.4, 50), 0.6, 0.6),
    Effect("confidence", "pneumonia", float("nan"), 2.0, UNKNOWN, float("nan"), float("nan")),
)

PATTERNS = (Pattern("normal", 90, 0, 8, 2), Pattern("pneumonia", 97, 2, 0, 1))


def comparison(*, predicted=(1, 1), found=(0, 1), same=False, source=REAL):
    generator = np.random.default_rng(0)
    groups = []
    titles = ("of all", "of the predicted class")
    for place, (title, label) in enumerate(zip(titles, found, strict=True)):
        ids = np.arange(8).reshape(2, 4) + (0 if same else 8 * place)
        neighbours = Neighbours(np.full((2, 4), 0.5, dtype=np.float32), ids)
        images = generator.integers(0, 255, (2, 4, 28, 28), dtype=np.uint8)
        groups.append(NeighbourGroup(title, images, np.full((2, 4), label), neighbours))
    queries = generator.integers(0, 255, (2, 28, 28), dtype=np.uint8)
    return failures.neighbour_comparison(
        queries, np.array([101, 102]), np.array([1, 1]), np.array(predicted), groups, ("normal", "pneumonia"),
        title="Hardest", source=source,
    )  # fmt: skip


def patterns(*, effects=EFFECTS, source=REAL):
    return failures.failure_patterns(PATTERNS, effects, k=5, source=source)


@pytest.mark.parametrize("draw", [comparison, patterns])
def test_a_figure_repeats_is_not_cut_off_and_phantoms_are_watermarked(draw):
    require_repeatable_and_watermarked(draw, whole=True)


def test_frames_say_which_neighbours_and_which_calls_are_right():
    mixed = pixels(comparison())  # two right queries, eight wrong and eight right neighbours
    legend = {
        BAD: area(pixels(comparison(found=(1, 1))), BAD),
        GOOD: area(pixels(comparison(predicted=(0, 0), found=(0, 0))), GOOD),
    }
    wrong, right = area(mixed, BAD) - legend[BAD], area(mixed, GOOD) - legend[GOOD]
    assert right / wrong == pytest.approx(10 / 8, rel=0.02)
    misclassified = pixels(comparison(predicted=(0, 0), found=(1, 1)))  # the neighbours are right all the same
    wrong, right = area(misclassified, BAD) - legend[BAD], area(misclassified, GOOD) - legend[GOOD]
    assert right / wrong == pytest.approx(16 / 2, rel=0.02)


def test_ways_that_find_the_same_are_shown_once():
    once, twice = (pixels(comparison(found=(1, 1), same=same)) for same in (True, False))
    assert once.shape[0] < 0.8 * twice.shape[0]


def test_only_differences_beyond_chance_are_drawn_in_full_colour():
    both = pixels(patterns())
    # The pale bar of confidence adds nothing; without it and the gap the strong bars stay.
    weak = tuple(effect for effect in EFFECTS if effect.property == "confidence")
    strong = [area(both, color) - area(pixels(patterns(effects=weak)), color) for color in CLASS_COLORS]
    assert min(strong) > 500
    assert strong[0] == pytest.approx(strong[1], rel=0.05)
