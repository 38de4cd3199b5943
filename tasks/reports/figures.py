"""Pictures of the reports stage."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.report_generation.schema import Case, Label, Report
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, new_figure, render_png

_COLUMNS = 2
_LINE_LENGTH = 62  # characters that fit beside the pictures
_LINE_HEIGHT = 0.135  # inches
_MOST_LINES = 14  # a longer impression is cut here; the full text is in the markdown report
_PICTURE = 1.35  # inches


def contact_sheet(
    images: NDArray[np.uint8],
    heat_maps: NDArray[np.floating],
    cases: Sequence[Case],
    reports: Sequence[Report | None],
    truths: Sequence[Label],
    *,
    phantoms: bool,
) -> bytes:
    """Show each case: the image, its Grad-CAM map laid over it, the classifier's figures and the report's impression.

    Args:
        images: shape (cases, height, width), 0–255.
        heat_maps: Grad-CAM maps in [0, 1], of the images' shape.
        cases: the evidence.
        reports: one a case; None where what was written does not fit the schema.
        truths: the true classes.
        phantoms: whether the images are drawn phantoms.

    Returns:
        PNG bytes.
    """
    texts = [_wrap("no report: the answer does not fit the schema" if r is None else r.impression) for r in reports]
    rows = max(1, -(-len(cases) // _COLUMNS))
    heights = [
        max(_PICTURE + 0.15, *(_LINE_HEIGHT * (len(text) + 3) for text in texts[start : start + _COLUMNS]))
        for start in range(0, len(cases), _COLUMNS)
    ] or [_PICTURE]
    figure = new_figure(_COLUMNS * 6.6, sum(heights) + 0.7)
    figure.suptitle("Reports beside their evidence: image, Grad-CAM, classifier and impression", fontsize=11)
    axes: Any = figure.subplots(
        rows,
        3 * _COLUMNS,
        squeeze=False,
        gridspec_kw={"width_ratios": [_PICTURE, _PICTURE, 3.8] * _COLUMNS, "height_ratios": heights},
    )
    for axis in axes.flat:
        axis.axis("off")
    for position, case in enumerate(cases):
        row, column = divmod(position, _COLUMNS)
        image, overlay, text = axes[row, 3 * column : 3 * column + 3]
        for axis in (image, overlay):
            axis.imshow(images[position], cmap="gray", vmin=0, vmax=255)
            axis.set_anchor("N")
        overlay.imshow(heat_maps[position], cmap="jet", alpha=0.35, vmin=0, vmax=1)
        truth = truths[position]
        right = case.label == truth
        image.set_title(f"case {case.index}", fontsize=8, loc="left")
        overlay.set_title(f"true: {truth}", fontsize=8, loc="left", color=CLASS_COLORS[truth == "pneumonia"])
        text.set_title(
            f"p(pneumonia) = {case.probability:.2f} → {case.label}, {'right' if right else 'wrong'}",
            fontsize=8,
            loc="left",
            color=GOOD if right else BAD,
        )
        impression = "\n".join(texts[position])
        text.text(0, 1, impression, fontsize=7, va="top", transform=text.transAxes, parse_math=False)
    return render_png(figure, phantoms=phantoms)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE_LENGTH, max_lines=_MOST_LINES, placeholder=" …")
