"""The contact sheet of the reports stage."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.report_generation.schema import Answer, Case, Label
from tasks.shared.figures import (
    BAD,
    CLASS_COLORS,
    GOOD,
    MUTED,
    SMALL,
    TEXT,
    WIDTH,
    Sheet,
    Source,
    caption_letters,
    drawable,
    render_png,
)

MOST_CASES = 6
"""Cases on a sheet; every case has a page of its own."""

_PICTURE = 1.15  # inches
_TEXT_EDGE = 0.1 + 2 * (_PICTURE + 0.1)  # inches, where the text beside the pictures begins
_LINE_LENGTH = caption_letters(WIDTH - _TEXT_EDGE - 0.1)
_HEADING_LENGTH = int(_LINE_LENGTH * SMALL / TEXT)
_PICTURE_LENGTH = int(caption_letters(_PICTURE) * SMALL / TEXT)
_LINE_HEIGHT = 0.137  # inches
_MOST_LINES = 14  # of all impressions of a case: longer ones are cut here, the full text is in the table of reports


class _Line(NamedTuple):
    text: str
    color: str = "black"
    weight: str = "normal"


def contact_sheet(
    images: NDArray[np.uint8],
    heat_maps: NDArray[np.floating],
    cases: Sequence[Case],
    answers: Sequence[Mapping[str, Answer]],
    truths: Sequence[Label],
    *,
    source: Source,
) -> bytes:
    """Show each case: the image, its Grad-CAM map laid over it, the classifier's figures and what each report says.

    Args:
        images: shape (cases, height, width) or (cases, height, width, 3), 0–255.
        heat_maps: Grad-CAM maps in [0, 1], shape (cases, height, width).
        cases: the evidence. Of more than `MOST_CASES`, so many are shown, spread evenly over them.
        answers: for each case what came of each strategy, by its name.
        truths: the true classes.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    shown = np.linspace(0, len(cases) - 1, min(len(cases), MOST_CASES)).round().astype(int).tolist()
    texts = [_long_truth(truths[position]) + _lines(answers[position], truths[position]) for position in shown]
    heights = [max(_PICTURE + 0.32, 0.24 + _LINE_HEIGHT * len(text)) + 0.1 for text in texts]
    sheet, top = Sheet(sum(heights) or 0.3), 0.0
    for position, text, height in zip(shown, texts, heights, strict=True):
        case, truth = cases[position], truths[position]
        for column, overlay in enumerate((None, heat_maps[position])):
            sheet.image(images[position], 0.1 + column * (_PICTURE + 0.1), top + 0.22, _PICTURE, overlay=overlay)
        sheet.text(0.1, top + 0.04, f"case {case.index}", fontsize=TEXT, weight="bold")
        color = CLASS_COLORS[truth == case.labels[1]] if case.of_a_chest else "black"
        if not _long_truth(truth):
            sheet.text(0.2 + _PICTURE, top + 0.04, f"truly {truth}", fontsize=TEXT, color=color)
        if case.probability is not None:
            correct = case.label == truth
            of = f"p({case.labels[1]})" if case.two_classes else "p"
            words = f"classifier: {case.label}, {'correct' if correct else 'incorrect'} ({of} = {case.probability:.2f})"
            words = _wrap(words, 1, _HEADING_LENGTH)[0]
            sheet.text(_TEXT_EDGE, top + 0.04, words, fontsize=TEXT, color=GOOD if correct else BAD)
        for number, line in enumerate(text):
            y = top + 0.24 + _LINE_HEIGHT * number
            sheet.text(_TEXT_EDGE, y, line.text, color=line.color, weight=line.weight, clip_on=True)
        top += height
    return render_png(
        sheet.figure, source, title="Reports beside their evidence: image, Grad-CAM, classifier, impression",
        shown=f"test, {len(shown)} of {len(cases)} cases",
    )  # fmt: skip


def _long_truth(truth: Label) -> list[_Line]:
    """Put a true class whose name is wider than a picture into lines of the text beside it."""
    words = f"truly {truth}"
    return [] if len(words) <= _PICTURE_LENGTH else [_Line(line) for line in _wrap(words, 2)]


def _lines(answers: Mapping[str, Answer], truth: Label) -> list[_Line]:
    """Put what each strategy came to into lines; the template alone needs no heading, its label is the classifier's."""
    most = max(2, _MOST_LINES // max(1, len(answers)))
    lines = []
    for strategy, answer in answers.items():
        if set(answers) != {"template"}:
            lines.append(_heading(strategy, answer, truth))
        said = answer.report.impression if answer.report else f"cannot be read: {answer.problem}"
        lines += [_Line(text) for text in _wrap(said, most)]
    return lines


def _heading(strategy: str, answer: Answer, truth: Label) -> _Line:
    if answer.report is None:
        return _Line(f"{strategy}: ✗ no report", BAD, "bold")
    report = answer.report
    mark = "–" if report.label is None else "✓" if report.label == truth else "✗"
    certainty = f" ({report.certainty})" if report.certainty else ""
    text = _wrap(f"{strategy}: {mark} {report.label or 'no conclusion'}{certainty}", 1)[0]
    return _Line(text, {"✓": GOOD, "✗": BAD, "–": MUTED}[mark], "bold")


def _wrap(text: str, most: int, length: int = _LINE_LENGTH) -> list[str]:
    return textwrap.wrap(drawable(text), length, max_lines=most, placeholder=" …")
