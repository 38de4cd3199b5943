"""Drift, performance and volume by week: one HTML page with Bokeh inside, which fetches nothing.

It also works where MLflow shows it, in a frame that may run scripts and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from bokeh.embed import components
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, Range1d
from bokeh.models.annotations import Span
from bokeh.plotting import figure
from bokeh.resources import Resources

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.retrieval.weekly import Week
from tasks.shared.figures import class_colors
from tasks.shared.markdown import FOLDED

RUNS = "runs"
_LETTERS = "12px"
_DAY = 24 * 3600 * 1000.0  # milliseconds
_WEEK = 7 * _DAY
_EPOCH = date(1970, 1, 1)
_STYLE = """
body { margin: 0 auto; padding: 1rem 1.25rem 3rem; max-width: 62rem; color: #1c2330; background: #ffffff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #d5d9e0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.warning { color: #b3261e; font-weight: 600; }
summary { cursor: pointer; }
"""


@dataclass(frozen=True)
class Panel:
    """A plot of the page.

    Attributes:
        title: its heading.
        meaning: what is seen, one sentence.
        lines: what each line is called, by the name of its metric.
        chance: where a dashed line stands; None for none.
        counted: whether the metrics are counts, which a week adds up; else it takes their mean.
    """

    title: str
    meaning: str
    lines: Mapping[str, str]
    chance: float | None = None
    counted: bool = False

    def value(self, week: Week, name: str) -> float | None:
        """Return what a week has of a metric; of counts 0 where it has none, else None."""
        if name == RUNS:
            return float(week.runs)
        return week.sums.get(name, 0.0) if self.counted else week.means.get(name)


def history_page(weeks: Sequence[Week], panels: Sequence[Panel], *, title: str, about: str, phantoms: bool) -> str:
    """Write the page.

    Args:
        weeks: in their order.
        panels: what is plotted; a line of which no week has a value is left out.
        title: heading of the page.
        about: which runs are counted, one or two sentences.
        phantoms: whether the data are drawn phantoms, which the page then says.

    Returns:
        The page, whole in itself.
    """
    warning = f'<p class="warning">{escape(PHANTOM_NOTICE)}</p>' if phantoms else ""
    head = f"<h1>{escape(title)}</h1>{warning}<p>{escape(RESEARCH_NOTICE)} {escape(about)}</p>"
    if not weeks:
        return _page(title, "", f"{head}<p>No run has finished yet, so there is no history.</p>")
    seen = [_seen(panel, weeks) for panel in panels]
    shown = [panel for panel in seen if panel.lines]
    script, divisions = components([_plot(panel, weeks) for panel in shown])
    parts = [
        f"<h2>{escape(panel.title)}</h2><p>{escape(panel.meaning)}</p>{division}"
        for panel, division in zip(shown, divisions, strict=True)
    ]
    resources = Resources(mode="inline", components=["bokeh"]).render()
    return _page(title, f"{resources}\n{script}", "\n".join([head, *parts, _table(shown, weeks)]))


def _page(title: str, scripts: str, body: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n{scripts}\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _seen(panel: Panel, weeks: Sequence[Week]) -> Panel:
    lines = {name: said for name, said in panel.lines.items() if any(panel.value(week, name) for week in weeks)}
    return Panel(panel.title, panel.meaning, lines, panel.chance, panel.counted)


def _plot(panel: Panel, weeks: Sequence[Week]) -> figure:
    plot = figure(height=280, sizing_mode="stretch_width", x_axis_type="datetime", tools="pan,xwheel_zoom,reset,save")
    plot.toolbar.logo = None
    plot.y_range = DataRange1d(start=0) if panel.counted else Range1d(start=0, end=1.02)
    if len(weeks) == 1:  # a single point has no extent
        plot.x_range = Range1d(start=_time(weeks[0]) - _WEEK, end=_time(weeks[0]) + _WEEK)
    colors = class_colors(len(panel.lines))
    for color, (name, said) in zip(colors, panel.lines.items(), strict=True):
        values = [panel.value(week, name) for week in weeks]
        source = ColumnDataSource(
            {
                "week": [_time(week) for week in weeks],
                "value": [float("nan") if value is None else value for value in values],
                "runs": [week.runs for week in weeks],
                "name": [said] * len(weeks),
            }
        )
        plot.line("week", "value", source=source, color=color, line_width=2, legend_label=said)
        plot.scatter("week", "value", source=source, color=color, size=7, legend_label=said)
    if panel.chance is not None:
        plot.add_layout(Span(location=panel.chance, dimension="width", line_dash="dashed", line_color="#566072"))
    written = "@value{0}" if panel.counted else "@value{0.000}"
    tips = [("", "@name"), ("week from", "@week{%F}"), ("value", written), (RUNS, "@runs")]
    plot.add_tools(HoverTool(tooltips=tips, formatters={"@week": "datetime"}))
    plot.legend.orientation, plot.legend.location, plot.legend.border_line_color = "horizontal", "center", None
    plot.legend.label_text_font_size = plot.axis.major_label_text_font_size = _LETTERS
    plot.add_layout(plot.legend[0], "below")
    return plot


def _time(week: Week) -> float:
    """Return the Monday in milliseconds, as Bokeh keeps moments."""
    return (week.start - _EPOCH).days * _DAY


def _table(panels: Sequence[Panel], weeks: Sequence[Week]) -> str:
    columns = [(panel, name, said) for panel in panels for name, said in panel.lines.items()]
    head = "".join(f"<th>{escape(said)}</th>" for said in ("week from", *(said for _, _, said in columns)))
    rows = [
        f"<tr><td>{week.start}</td>"
        + "".join(f"<td>{_written(panel.value(week, name), panel)}</td>" for panel, name, _ in columns)
        + "</tr>"
        for week in reversed(weeks)
    ]
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    if len(rows) > FOLDED:
        table = f"<details><summary>{len(rows)} weeks in numbers</summary>{table}</details>"
    return f"<h2>In numbers</h2>{table}"


def _written(value: float | None, panel: Panel) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if panel.counted else f"{value:.3f}"
