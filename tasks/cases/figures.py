"""The gallery of a run, for its page in Prefect and its figures in MLflow: the most urgent cases, a row each."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.text import printable
from tasks.cases.heat_overlay import heat_overlay
from tasks.cases.pages import CaseView
from tasks.cases.pictures import at_page_size
from tasks.cases.wording import describe_majority, short_set
from tasks.shared.figures import (
    BAD,
    MOST_COLUMNS,
    MUTED,
    SMALL,
    Sheet,
    Source,
    caption_letters,
    cell_width,
    class_colors,
    column_edge,
    drawable,
    frames,
    render_png,
    sentence,
    short_name,
)

SHOWN = 8
"""Cases that a gallery shows."""
_NEIGHBOURS = 2
_SHARP = 450  # pixels of a picture that a cell can show
_CELL = cell_width(MOST_COLUMNS)
_ROW = _CELL + 0.32
_HEADING = 0.2
_LINE = SMALL * 1.32 / 72
_LETTERS = caption_letters(2 * _CELL)  # of a line beside a picture
_MOST_LINES = int((_CELL + 0.2) / _LINE)


def gallery(views: Sequence[CaseView], *, source: Source) -> bytes:
    """Show of each case its picture, the heat map, what the classifier says, and the nearest labelled cases.

    Args:
        views: the cases, most urgent first; the first `SHOWN` are drawn.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    drawn = views[:SHOWN]
    if not drawn:
        return render_png(sentence("No picture could be read."), source, title="Cases")
    names = drawn[0].class_names
    sheet = Sheet(_HEADING + _ROW * len(drawn))
    of = names[1] if len(names) == 2 else "its class"
    heat = f"heat: {short_name(of, caption_letters(_CELL) - 6)}"
    for column, heading in ((0, "picture"), (1, heat), (2, "what is known"), (4, "nearest labelled cases")):
        sheet.text(column_edge(column, MOST_COLUMNS), 0.02, heading, color=MUTED)
    for place, view in enumerate(drawn):
        _draw(sheet, view, _HEADING + place * _ROW)
    return render_png(
        sheet.figure,
        source,
        title="Cases to look at first",
        shown=f"{len(drawn)} of {len(views)} pictures",
        legend=frames(class_colors(len(names)), names),
    )


def _draw(sheet: Sheet, view: CaseView, y: float) -> None:
    """Draw the row of a case."""
    case = view.case
    picture = Image.fromarray(at_page_size(view.picture))
    picture.thumbnail((_SHARP, _SHARP), reducing_gap=2)
    shown = np.asarray(picture)
    sheet.image(shown, column_edge(0, MOST_COLUMNS), y, _CELL, frame=BAD if case.foreign else None)
    heat = view.heat.get(view.positive)
    if heat is not None:
        sheet.image(heat_overlay(shown, heat), column_edge(1, MOST_COLUMNS), y, _CELL)
    for line, (text, style) in enumerate(_lines(view)):
        sheet.text(column_edge(2, MOST_COLUMNS), y + line * _LINE, text, **style)
    for similar in case.similar[:1]:
        nearest = list(zip(similar.hits, view.neighbours[similar.encoder], strict=False))[:_NEIGHBOURS]
        for place, (hit, image) in enumerate(nearest):
            x = column_edge(MOST_COLUMNS - _NEIGHBOURS + place, MOST_COLUMNS)
            sheet.image(image, x, y, _CELL, frame=class_color(hit.label, view.class_names))
            name = short_name(hit.label, caption_letters(_CELL) - 5)
            sheet.text(x, y + _CELL + 0.05, f"{name} {hit.similarity:.2f}")


def _lines(view: CaseView) -> list[tuple[str, dict[str, str]]]:
    """Put what is known of a case into lines with their style, as many as stand beside a picture."""
    case, names = view.case, view.class_names
    lines = [(short_name(drawable(printable(case.name)), _LETTERS), {"weight": "bold"})]
    found = case.classification
    if found is None:
        return lines
    probability = f"p({short_name(view.positive, 20)}) = {found.probability:.2f}"
    if case.foreign and case.screening:
        lines.append(("foreign: not counted", {"color": BAD, "weight": "bold"}))
        lines.append((short_name(f"{probability}, not to be used", _LETTERS), {"color": MUTED}))
        most = _MOST_LINES - len(lines)
        reasons = textwrap.wrap(drawable(" ".join(case.screening.reasons)), _LETTERS, max_lines=most, placeholder=" …")
        return lines + [(line, {}) for line in reasons]
    color = class_color(found.label, names)
    said = f"{found.label}: {probability}" if len(names) == 2 else f"{found.probability:.2f} {found.label}"
    lines.append((said, {"color": color, "weight": "bold"}))
    if found.runner_up is not None:
        lines.append((f"then {found.runner_up[1]:.2f} {found.runner_up[0]}", {}))
    lines += [
        (f"set at {100 * float(level):g} %: {short_set(labels, len(names))}", {})
        for level, labels in found.sets.items()
    ]
    lines += [(f"alike, {similar.encoder}: {describe_majority(similar)}", {}) for similar in case.similar]
    lines += [(f"report, {strategy}: {label or 'no conclusion'}", {}) for strategy, label in case.reports.items()]
    urgent = [] if case.concern == "none" else [(case.concern, {"color": BAD, "weight": "bold"})]
    most = _MOST_LINES - len(urgent)
    return [(short_name(text, _LETTERS), style) for text, style in lines[:most]] + urgent


def class_color(label: str, class_names: Sequence[str]) -> str:
    """Return the colour of a class, grey for one that is not known."""
    return class_colors(len(class_names))[class_names.index(label)] if label in class_names else MUTED
