import numpy as np
import pytest

from tasks.retrieval.analyses.hubness import measure_hubness
from tasks.retrieval.analyses.near_duplicates import NearDuplicate, Place
from tasks.retrieval.analyses.neighbour_evidence import detect_errors
from tasks.retrieval.figures import analyses as figures
from tasks.shared.figures import BAD
from tests.support.figures import REAL
from tests.tasks.retrieval.figures.pictures import area, pixels, require_repeatable_and_watermarked

NAMES = ("normal", "pneumonia")


def hubness(neighbours):
    ids, labels = np.arange(len(neighbours)), np.arange(len(neighbours)) % 2
    return measure_hubness(np.array(neighbours), ids, labels, ids, labels)


def pair(first, second, labels=(0, 0)):
    return NearDuplicate(Place("train", first, labels[0]), Place("test", second, labels[1]), 0.96)


def drawn(name, **options):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (12, 28, 28), dtype=np.uint8)
    if name == "hubness":
        return figures.hubness_overview(hubness([[1]] + [[0]] * 11), images, NAMES, **options)
    if name == "duplicates":
        pairs = options.pop("pairs", [pair(0, 1), pair(2, 3, (0, 1))])
        return figures.near_duplicate_pairs(pairs, {"train": images, "test": images}, NAMES, **options)
    wrong = options.pop("wrong", generator.random(60) < 0.3)
    detection = detect_errors(generator.random(60), generator.random(60), wrong, samples=20, seed=0)
    return figures.error_detection(detection, **options)


@pytest.mark.parametrize("name", ["hubness", "duplicates", "detection"])
def test_a_figure_repeats_and_phantoms_are_watermarked(name):
    require_repeatable_and_watermarked(lambda source: drawn(name, source=source))


def test_pairs_with_different_labels_are_framed_red():
    agreeing = [pair(0, 1), pair(2, 3)]
    frames = [
        area(pixels(drawn("duplicates", pairs=pairs, source=REAL)), BAD)
        for pairs in (agreeing, [pair(2, 3, (0, 1)), pair(0, 1)], [pair(0, 1, (1, 0)), pair(2, 3, (0, 1))])
    ]
    assert frames[0] > 0  # the frame of the legend
    assert frames[2] - frames[0] == pytest.approx(2 * (frames[1] - frames[0]), rel=0.02)


def test_no_more_pairs_than_asked_are_drawn():
    both, one = ([pair(0, 1, (0, 1)), pair(2, 3, (0, 1))][:count] for count in (2, 1))
    limited = pixels(drawn("duplicates", pairs=both, limit=1, source=REAL))
    single = pixels(drawn("duplicates", pairs=one, source=REAL))
    assert area(limited, BAD) == area(single, BAD) > 0


def test_colour_images_can_be_drawn():
    images = np.random.default_rng(0).integers(0, 255, (12, 28, 28, 3), dtype=np.uint8)
    assert figures.near_duplicate_pairs([pair(0, 1)], {"train": images, "test": images}, NAMES, source=REAL)
    assert figures.hubness_overview(hubness([[1]] + [[0]] * 11), images, NAMES, source=REAL)


def test_nothing_to_show_is_said():
    images = np.zeros((3, 28, 28), dtype=np.uint8)
    assert figures.hubness_overview(hubness([[1], [2], [0]]), images, NAMES, source=REAL)  # no hub, no antihub
    for png in (
        drawn("duplicates", pairs=[], source=REAL),
        drawn("detection", wrong=np.zeros(60, dtype=bool), source=REAL),
    ):
        height, width = pixels(png).shape[:2]
        assert height < width / 3  # one sentence, no axes
