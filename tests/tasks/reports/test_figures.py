import io
import itertools
import warnings

import matplotlib.image
import numpy as np
import pytest
from medmnist import INFO

from models.report_generation.schema import Answer, Case, Label, Provenance, Report
from tasks.reports import figures
from tasks.reports.figures import contact_sheet
from tasks.shared.figures import Source
from tests.support.figures import PHANTOMS, RANDOM_WEIGHTS, REAL, require_legible

PROVENANCE = Provenance(
    generator="medgemma",
    version="1",
    strategy="any",
    model="google/medgemma-4b-it",
    language_model=True,
    dataset="pneumoniamnist",
    classifier_sha256="f" * 64,
    phantoms=False,
)

STRATEGIES = ("concise", "structured", "differential", "zero_shot", "clinical_role", "context_aware")


def answer(index: int, strategy: str, label: Label | None, impression: str = "A hazy opacity. " * 40) -> Answer:
    report = Report(
        case_index=index, impression=impression, label=label, certainty="probable", limitations=("small",),
        provenance=PROVENANCE,
    )  # fmt: skip
    return Answer(
        row_id=f"{index}-{strategy}", case_index=index, strategy=strategy, control="none", shown_probability=None,
        prompt="", text="", report=report,
    )  # fmt: skip


def unread(index: int, strategy: str, problem: str = "no JSON object in the text") -> Answer:
    return answer(index, strategy, None).model_copy(update={"report": None, "problem": problem})


def draw(
    count: int,
    strategies: tuple[str, ...] = ("template",),
    *,
    level: int | None = None,
    answers: list[dict[str, Answer]] | None = None,
    source: Source = REAL,
) -> bytes:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
    heat = generator.random((count, 28, 28))
    if level is not None:
        images, heat = np.full_like(images, level), heat * 0
    cases = [
        Case(index=i, image_sha256="", probability=0.3 * i % 1, threshold=0.5, heat_region="no focus", heat_share=0)
        for i in range(count)
    ]
    truths: list[Label] = ["normal" if i % 2 == 0 else "pneumonia" for i in range(count)]
    answers = answers or [{strategy: answer(i, strategy, "normal") for strategy in strategies} for i in range(count)]
    return contact_sheet(images, heat, cases, answers, truths, source=source)


def pixels(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def test_names_of_classes_that_are_wider_than_a_picture_overlap_nothing(monkeypatch):
    sheets = []
    monkeypatch.setattr(figures, "render_png", lambda figure, *_, **__: sheets.append(figure) or b"")
    blood = INFO["bloodmnist"]["label"]
    cases = [
        Case(index=0, image_sha256="", probability=0.7, threshold=0.2, heat_region="no focus", heat_share=0,
             labels=(blood["0"], blood["3"]), two_classes=False)
    ]  # fmt: skip
    answers = [{"template": answer(0, "template", blood["3"], "Short.")}]
    heat = np.zeros((1, 28, 28))
    contact_sheet(np.zeros((1, 28, 28, 3), np.uint8), heat, cases, answers, [blood["3"]], source=REAL)
    (sheet,) = sheets
    sheet.draw_without_rendering()
    boxes = [text.get_window_extent() for axis in sheet.axes for text in axis.texts]
    assert not [(one, other) for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]
    assert max(box.x1 for box in boxes) <= sheet.bbox.x1
    assert f"truly {blood['3']}" in " ".join(text.get_text() for axis in sheet.axes for text in axis.texts)


def test_sheet_grows_with_cases_and_repeats():
    one, three = draw(1), draw(3)
    assert three == draw(3)
    assert pixels(three).shape[0] > pixels(one).shape[0]
    assert pixels(three).shape[1] == pixels(one).shape[1]


def test_image_pixels_are_shown_as_they_are():
    """A bright and a dark image differ in the figure where the picture stands."""
    dark, bright = (pixels(draw(1, level=level)) for level in (0, 255))
    changed = (np.abs(dark - bright).max(axis=2) > 0.9).sum()
    assert changed > 100 * 100


def test_every_strategy_has_its_line():
    plain = {strategy: answer(0, strategy, "normal") for strategy in STRATEGIES}
    before = pixels(draw(1, answers=[plain]))
    rows = []
    for strategy in STRATEGIES:
        changed = pixels(draw(1, answers=[plain | {strategy: answer(0, strategy, "pneumonia")}])) != before
        rows.append(np.flatnonzero(changed.any(axis=(1, 2))).mean())
    assert rows == sorted(set(rows))


def colours(png: bytes, color: str) -> int:
    wanted = np.array(matplotlib.colors.to_rgb(color))
    return int((np.abs(pixels(png) - wanted).max(axis=2) < 0.02).sum())


def test_correct_and_incorrect_labels_differ_in_colour():
    """The true class is normal and so is the classifier's label; only the report's line changes."""
    correct, incorrect, open_, none = (
        draw(1, answers=[{"concise": made}])
        for made in (
            answer(0, "concise", "normal"),
            answer(0, "concise", "pneumonia"),
            answer(0, "concise", None),
            unread(0, "concise"),
        )
    )
    good, bad = ([colours(png, color) for png in (correct, incorrect, open_, none)] for color in ("#2e8540", "#b3261e"))
    assert good[0] > 1.5 * max(good[1:])
    assert min(bad[1], bad[3]) > 20 > max(bad[0], bad[2])


def test_the_template_alone_needs_no_heading():
    """Its label is the classifier's, which stands above."""
    plain = draw(1, answers=[{"template": answer(0, "template", "normal")}])
    assert plain == draw(1, answers=[{"template": answer(0, "template", "pneumonia")}])
    assert plain != draw(1, answers=[{"concise": answer(0, "concise", "normal")}])


@pytest.mark.parametrize("source", [PHANTOMS, RANDOM_WEIGHTS])
def test_what_shows_nothing_real_gets_a_watermark(source: Source):
    plain, marked = pixels(draw(2)), pixels(draw(2, source=source))
    assert (plain != marked).any(axis=2).mean() > 0.01


def test_a_sheet_can_be_read_where_it_is_shown():
    require_legible(lambda: draw(3, STRATEGIES))


@pytest.mark.parametrize(
    "text",
    ["costs $5, or $ 6_^{", "word " * 2000, "x" * 300, "W" * 3000, "肺炎 🫁 \x00\x1b[31m \x1f \u202eabc\tنص\n\nend"],
)
def test_any_text_can_be_drawn_without_growing_the_sheet_beyond_bounds(text: str):
    answers = [{"concise": answer(0, "concise", "normal", text)}, {"concise": unread(1, "concise", text)}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph would be warned of
        assert pixels(draw(2, answers=answers)).shape[0] < 1200


def test_a_large_sheet_shows_some_of_the_cases(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "MOST_CASES", 4)
    most, more = draw(4), draw(9)
    assert pixels(most).shape == pixels(more).shape
    assert most != more
