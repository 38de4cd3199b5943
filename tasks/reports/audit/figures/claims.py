"""Figure of the unsupported claims."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.reports.audit.figures.layout import Drawing
from tasks.shared.figures import MUTED, SMALL, new_figure

_STATUSES = ("affirmed", "hedged", "denied")
_MOST_CLAIMS = 2.0  # a text that repeats one claim over and over must not pale all others


def claims_figure(
    claims: Mapping[str, Sequence[Sequence[tuple[str, str]]]],
    kinds: Sequence[str],
) -> Drawing | None:
    """Draw how many unsupported claims of each kind a report makes, by strategy and by what it says of them.

    Args:
        claims: by strategy, the claims of each of its reports as pairs of kind and status; an empty sequence for a
            report without any.
        kinds: kinds to draw, from the top.

    Returns:
        The figure, or None where there are no reports.
    """
    strategies = [strategy for strategy, reports in claims.items() if len(reports)]
    if not strategies or not kinds:
        return None
    rates = np.zeros((len(_STATUSES), len(kinds), len(strategies)))
    for column, strategy in enumerate(strategies):
        for kind, status in (claim for report in claims[strategy] for claim in report):
            if status in _STATUSES and kind in kinds:
                rates[_STATUSES.index(status), kinds.index(kind), column] += 1
        rates[:, :, column] /= len(claims[strategy])
    figure = new_figure(1.1 + 0.26 * len(kinds))
    axes: Any = figure.subplots(1, len(_STATUSES), sharey=True)
    highest = float(np.clip(rates.max(), 0.1, _MOST_CLAIMS))
    for axis, status, values in zip(axes, _STATUSES, rates, strict=True):
        shown = axis.imshow(values, cmap="Oranges", vmin=0, vmax=highest, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if value > 0.6 * highest else "black" if value else MUTED
            axis.text(
                column, row, f"{value:.1f}" if value else "0", ha="center", va="center", fontsize=SMALL, color=ink
            )
        axis.set_xticks(range(len(strategies)), strategies, rotation=40, ha="right")
        axis.set_yticks(range(len(kinds)), kinds)
        axis.set_title(f"{status} ({values.sum(axis=0).mean():.2f} per report)")
    extend = "max" if rates.max() > highest else "neither"
    figure.colorbar(shown, ax=axes, label="claims per report", shrink=0.8, pad=0.01, extend=extend)
    return Drawing(figure, "Claims per report that the image cannot support")
