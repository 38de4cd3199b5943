import numpy as np
import pytest

from tasks.retrieval.figures.search import search_gallery
from tasks.retrieval.search_result import Hit, Query, SearchedIndex, SearchResult
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED
from tests.tasks.retrieval.figures.pictures import area, pixels, require_repeatable_and_watermarked

INDEX = SearchedIndex(
    run_id="9f2c8e41d05b4c6f8a7e3b1d2c4f5a69",
    published_at="2026-11-27T02:00:07+00:00",
    dataset="pneumoniamnist",
    dataset_digest="28209eda62fecd6e6a2d98b1501bb15f",
    images={"train": 4708, "val": 524, "test": 624},
)
NAMES = ("normal", "pneumonia")
IMAGES = np.full((50, 28, 28), 120, dtype=np.uint8)


def solid(picture, level):
    """Where an even grey area lies; letters, whose rims have every grey, are left out."""
    match = np.abs(picture - level / 255).max(axis=2) < 0.004
    return match & np.roll(match, 4, 0) & np.roll(match, -4, 0) & np.roll(match, 4, 1) & np.roll(match, -4, 1)


def draw(labels, query=None, query_image=IMAGES[0], original=None, **changes):
    hits = tuple(
        Hit(rank=place + 1, split="train", index=place, label=label, similarity=0.9 - place / 100)
        for place, label in enumerate(labels)
    )
    fields = {
        "query": query or Query.from_item("test", 3, 1, IMAGES[0]), "encoder": "classifier", "encoder_identity": "x",
        "index": INDEX, "class_names": NAMES, "splits": ("train",), "label": None, "k": len(hits), "hits": hits,
        "phantoms": False,
    }  # fmt: skip
    result = SearchResult(**(fields | changes))
    return search_gallery(result, IMAGES[: len(hits)], query_image=query_image, original=original)


def test_a_figure_repeats_and_phantoms_are_watermarked():
    require_repeatable_and_watermarked(lambda source: draw([0, 1, 1], phantoms=source.phantoms))


def test_frames_tell_the_class():
    normal, mixed, pneumonia = (draw(labels, Query.from_text("x"), None) for labels in ([0] * 4, [0, 1, 1, 1], [1] * 4))
    legend = [area(draw([label] * 4, Query.from_text("x"), None), CLASS_COLORS[1 - label]) for label in (0, 1)]
    assert legend[0] and legend[1]  # the other class shows in the legend alone
    blue = area(mixed, CLASS_COLORS[0]) - legend[1]
    red = area(mixed, CLASS_COLORS[1]) - legend[0]
    assert blue == pytest.approx((area(normal, CLASS_COLORS[0]) - legend[1]) / 4, rel=0.1)
    assert red == pytest.approx((area(pneumonia, CLASS_COLORS[1]) - legend[0]) * 3 / 4, rel=0.1)


def test_an_unlabelled_case_has_a_frame_of_no_class_and_no_mark():
    labelled, without = draw([1] * 4), draw([None] * 4)
    for color in (*CLASS_COLORS[:2], GOOD, BAD):
        assert area(without, color) > 0  # in the legend alone
    assert area(without, CLASS_COLORS[1]) < area(labelled, CLASS_COLORS[1]) / 2  # the query is framed in it
    assert area(without, GOOD) < area(labelled, GOOD) / 3
    assert area(without, MUTED) > 2 * area(labelled, MUTED)


def test_marks_tell_right_from_wrong_only_where_the_label_is_known():
    right, wrong = draw([1] * 4), draw([0] * 4)
    assert area(right, GOOD) > area(wrong, GOOD) > 0  # one of each is in the legend
    assert area(wrong, BAD) > area(right, BAD) > 0
    unknown = draw([1] * 4, Query.from_file("x.png", IMAGES[0]))
    assert area(unknown, GOOD) == area(unknown, BAD) == 0


def test_images_are_drawn_in_their_place():
    images = IMAGES.copy()
    images[4] = 200
    result = SearchResult(
        query=Query.from_text("x"), encoder="clip", encoder_identity="x", index=INDEX, class_names=NAMES,
        splits=("train",),
        label=None, k=6,
        hits=[Hit(rank=n + 1, split="train", index=n, label=0, similarity=0.5) for n in range(6)], phantoms=False,
    )  # fmt: skip
    picture = pixels(search_gallery(result, images[:6], query_image=None))
    bright = solid(picture, 200)
    others = solid(picture, 120)
    assert others.sum() == pytest.approx(5 * bright.sum(), rel=0.05)
    rows, columns = np.nonzero(bright)
    all_rows, all_columns = np.nonzero(bright | others)
    # Rows of four: the fifth is the first one of the second row.
    assert rows.mean() > all_rows.mean()
    assert columns.min() == all_columns.min()


@pytest.mark.parametrize("hits", [2, 5, 6, 7, 11, 50])
def test_every_number_of_cases_fits(hits):
    picture = pixels(draw([0] * hits, Query.from_text("x"), None))
    grey = solid(picture, 120)
    one = solid(pixels(draw([0], Query.from_text("x"), None)), 120)
    assert grey.sum() == pytest.approx(hits * one.sum(), rel=0.1)
    height, width = grey.shape
    assert width == 1380 and height < 4000


def test_an_original_is_shown_whole_beside_what_was_compared():
    original = np.full((300, 600), 60, dtype=np.uint8)
    picture = pixels(draw([0] * 3, Query.from_file("x.png", IMAGES[0]), original=original))
    rows, columns = np.nonzero(solid(picture, 60))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(2, rel=0.05)
    four = solid(picture, 120).sum()  # three cases and the query as it was compared
    three = pixels(draw([0] * 3, Query.from_text("x"), None))
    assert four == pytest.approx(4 / 3 * solid(three, 120).sum(), rel=0.1)


@pytest.mark.parametrize("text", ["$5", "$x_1$ ^ \\frac{", "word " * 400, "x" * 700, "LOW MARGINS " * 9, "i"])
def test_any_text_is_drawn_inside_its_panel(text):
    picture = pixels(draw([1] * 10, Query.from_text(text), None))
    ink = (picture < 0.9).any(axis=2)
    assert ink[150:-110, :440].sum() > 15
    assert not ink[150:-110, 444:451].any()  # between the text and the line beside it


@pytest.mark.parametrize("name", ["a $b$ {c}.png", "n" * 200 + ".dcm"])
def test_any_file_name_is_drawn(name):
    assert draw([1], Query.from_file(name, IMAGES[0]))


def test_what_was_searched_stands_in_the_title():
    """Another name of the same length changes the title and nothing else."""
    plain, other = (pixels(draw([0] * 10, index=INDEX.model_copy(update={"run_id": run * 32}))) for run in "ab")
    rows, _ = np.nonzero((plain != other).any(axis=2))
    assert rows.min() > 0
    assert rows.max() < 150
