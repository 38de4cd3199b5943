"""The contact sheet of the reports stage."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray

from models.report_generation.schema import Answer, Case, Label
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED, new_figure, render_png

MOST_CASES = 40
"""A sheet of more would be too large to read, and soon too large to draw."""

_COLUMNS = 2
_LINE_LENGTH = 62  # characters that fit beside the pictures
_LINE_HEIGHT = 0.135  # inches
_MOST_LINES = 14  # of all impressions of a case: longer ones are cut here, the full text is in the markdown report
_PICTURE = 1.35  # inches


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
    phantoms: bool,
    random_weights: bool = False,
) -> bytes:
    """Show each case: the image, its Grad-CAM map laid over it, the classifier's figures and what each report says.

    Args:
        images: shape (cases, height, width), 0–255.
        heat_maps: Grad-CAM maps in [0, 1], of the images' shape.
        cases: the evidence. Of more than `MOST_CASES`, so many are shown, spread evenly over them.
        answers: for each case what came of each strategy, by its name.
        truths: the true classes.
        phantoms: whether the images are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        PNG bytes.
    """
    shown = np.linspace(0, len(cases) - 1, min(len(cases), MOST_CASES)).round().astype(int).tolist()
    texts = [_lines(answers[position], truths[position]) for position in shown]
    rows = max(1, -(-len(shown) // _COLUMNS))
    heights = [
        max(_PICTURE + 0.15, *(_LINE_HEIGHT * (len(text) + 3) for text in texts[start : start + _COLUMNS]))
        for start in range(0, len(shown), _COLUMNS)
    ] or [_PICTURE]
    figure = new_figure(_COLUMNS * 6.6, sum(heights) + 0.7)
    part = "" if len(shown) == len(cases) else f" ({len(shown)} of {len(cases)} cases)"
    figure.suptitle(f"Reports beside their evidence: image, Grad-CAM, classifier and impression{part}", fontsize=11)
    axes: Any = figure.subplots(
        rows,
        3 * _COLUMNS,
        squeeze=False,
        gridspec_kw={"width_ratios": [_PICTURE, _PICTURE, 3.8] * _COLUMNS, "height_ratios": heights},
    )
    for axis in axes.flat:
        axis.axis("off")
    for place, position in enumerate(shown):
        row, column = divmod(place, _COLUMNS)
        image, overlay, text = axes[row, 3 * column : 3 * column + 3]
        for axis in (image, overlay):
            axis.imshow(images[position], cmap="gray", vmin=0, vmax=255)
            axis.set_anchor("N")
        overlay.imshow(heat_maps[position], cmap="jet", alpha=0.35, vmin=0, vmax=1)
        case, truth = cases[position], truths[position]
        image.set_title(f"case {case.index}", fontsize=8, loc="left")
        overlay.set_title(f"true: {truth}", fontsize=8, loc="left", color=CLASS_COLORS[truth == "pneumonia"])
        if case.probability is not None:
            right = case.label == truth
            title = f"p(pneumonia) = {case.probability:.2f} → {case.label}, {'right' if right else 'wrong'}"
            text.set_title(title, fontsize=8, loc="left", color=GOOD if right else BAD)
        for number, line in enumerate(texts[place]):
            text.annotate(
                line.text, (0, 1), (0, -72 * _LINE_HEIGHT * number), "axes fraction", "offset points",
                fontsize=7, va="top", color=line.color, weight=line.weight, parse_math=False, clip_on=True,
                in_layout=False,
            )  # fmt: skip
    return render_png(figure, phantoms=phantoms, random_weights=random_weights)


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


def _wrap(text: str, most: int) -> list[str]:
    return textwrap.wrap(_drawable(text), _LINE_LENGTH, max_lines=most, placeholder=" …")


def _drawable(text: str) -> str:
    """Put a box in place of each character that the font lacks, since a language model can write any."""
    return "".join(letter if letter.isspace() or _has_glyph(letter) else "□" for letter in text)


@cache
def _has_glyph(letter: str) -> bool:
    return letter.isprintable() and get_font(findfont("DejaVu Sans")).get_char_index(ord(letter)) > 0
