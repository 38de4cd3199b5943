"""A map of the embedding to explore: one HTML file with Bokeh inside, which fetches nothing and needs no server.

It also works where MLflow shows it, in a frame that may run scripts and nothing else. Distances on the map are not to
be measured; the panel beside it shows the neighbours that the search really finds.
"""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.layouts import column, row
from bokeh.models import CDSView, ColumnDataSource, CustomJS, HoverTool, IndexFilter, TapTool
from bokeh.models.annotations import ColorBar, Legend, LegendItem
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.widgets import Div, RadioButtonGroup, Select, TextInput
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from bokeh.resources import INLINE
from bokeh.transform import linear_cmap
from numpy.typing import NDArray

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from models.vector_index import CLOSENESS, Neighbours
from tasks.retrieval.evidence import Evidence
from tasks.shared.figures import class_colors
from tasks.shared.png import encode_png

COLOURINGS = ("class", "error", "confidence")

_HERE = Path(__file__)
_SCRIPT = _HERE.with_name("interactive_map.js")
_STYLE = _HERE.with_name("interactive_map.css")
_MARKERS = ("circle", "triangle", "square", "diamond", "inverted_triangle", "star")
_UNREMARKABLE = "#b9bfc9"  # points whose class the classifier predicts
_PANEL_WIDTH = 330  # pixels
_DRAWN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_COUNTED = re.compile(r'"id":"(p\d+)"')


@dataclass(frozen=True)
class MapCases:
    """What the map shows.

    Attributes:
        images: those on the map and their neighbours, shape (images, height, width) or (images, height, width, 3),
            0–255; what is neither is left out of the file.
        splits: name of each image's split, shape (images,).
        indices: number of each image in its split, shape (images,).
        labels: class of each image, shape (images,).
        points: which images are on the map, as rows of `images`, shape (points,).
        predicted: class that the classifier predicts, shape (points,).
        confidence: probability of that class, shape (points,).
        neighbours: nearest images of each point, their ids being rows of `images`, each of shape (points, k).
    """

    images: NDArray[np.uint8]
    splits: Sequence[str]
    indices: NDArray[np.integer]
    labels: NDArray[np.integer]
    points: NDArray[np.integer]
    predicted: NDArray[np.integer]
    confidence: NDArray[np.floating]
    neighbours: Neighbours

    @classmethod
    def of_test(cls, evidence: Evidence, *, count: int) -> "MapCases":
        """Show all test images with so many of their nearest others."""
        images = evidence.images
        places = np.arange(len(images))
        near = evidence.near("test", slice(None), count)
        predicted, confidence = (evidence.predictions[name] for name in ("predicted", "confidence"))
        return cls(images, ["test"] * len(images), places, evidence.labels, places, predicted, confidence, near)


@dataclass(frozen=True)
class _Group:
    """Points that share an entry of the legend.

    Attributes:
        name: for the legend.
        color: one, or how Bokeh computes it from a column.
        members: which points, shape (points,).
    """

    name: str
    color: Any
    members: NDArray[np.bool_]


def interactive_map(
    cases: MapCases,
    layouts: Mapping[str, NDArray[np.floating]],
    class_names: Sequence[str],
    *,
    title: str,
    phantoms: bool,
) -> str:
    """Write the map: points to hover over, click and find, coloured by class, by error or by confidence.

    Args:
        cases: what it shows.
        layouts: coordinates of the points by name of the method, each of shape (points, 2); the first is shown first.
        class_names: by label.
        title: heading of the page.
        phantoms: whether the data are drawn phantoms, which the page then says.

    Returns:
        The page, whole in itself.
    """
    shown = np.unique(np.concatenate([cases.points, cases.neighbours.ids.ravel()]))
    points = ColumnDataSource(_point_columns(cases, layouts, shown, class_names))
    images = ColumnDataSource(
        {
            "name": [f"{cases.splits[place]} {cases.indices[place]}" for place in shown],
            "label": [class_names[label] for label in cases.labels[shown]],
        }
    )
    plot = figure(
        height=560, min_width=260, sizing_mode="stretch_width", tools="pan,wheel_zoom,box_zoom,reset",
        active_scroll="wheel_zoom",
    )  # fmt: skip
    plot.axis.visible = plot.grid.visible = False
    plot.outline_line_color = "#d5d9e0"
    plot.toolbar.logo = None
    chosen, near = IndexFilter(indices=[]), IndexFilter(indices=[])
    for ringed, size, dash in ((chosen, 17, "solid"), (near, 13, "dotted")):
        _scatter(plot, points, ringed, size=size, fill_color=None, line_color="black", line_width=1.5, line_dash=dash)

    columns = math.isqrt(len(shown) - 1) + 1  # of a sheet about as wide as high
    panel = Div(
        text="<p>Hover over a point to see its image and its nearest images. Click it to keep it.</p>",
        width=_PANEL_WIDTH,
        stylesheets=[_STYLE.read_text(), _sprite_style(cases.images[shown], columns)],
        tags=[columns],
    )
    shared = {"points": points, "images": images, "panel": panel, "chosen": chosen, "near": near}
    show = CustomJS(args=shared, code=_SCRIPT.read_text())
    points.selected.js_on_change("indices", show)
    groups = {
        name: [_draw(plot, points, group, visible=name == COLOURINGS[0]) for group in members]
        for name, members in _groups(cases, class_names).items()
    }
    drawn = [renderer for renderers in groups.values() for renderer in renderers]
    # A hover tool for each group, since groups of one source overwrite each other's findings.
    hovers = [HoverTool(renderers=[group], tooltips=None, callback=show, visible=False) for group in drawn]
    plot.add_tools(TapTool(renderers=[*drawn]), *hovers)
    controls = row(
        _layout_choice(plot, points, list(layouts)), _colour_choice(plot, groups), _finder(points, images),
        sizing_mode="stretch_width", styles={"flex-wrap": "wrap"},  # a frame in another page may be narrow
    )  # fmt: skip
    page = column(
        _heading(title, phantoms=phantoms),
        controls,
        row(plot, panel, sizing_mode="stretch_width"),
        sizing_mode="stretch_width", margin=(0, 12, 0, 12),
    )  # fmt: skip
    return _same_each_time(file_html(page, INLINE, title))


def _same_each_time(page: str) -> str:
    """Replace the names that Bokeh draws, or counts through the process, so that the same map is the same file."""
    library, body, content = page.partition("<body>")
    drawn = {name: f"part-{place}" for place, name in enumerate(dict.fromkeys(_DRAWN.findall(content)))}
    content = _DRAWN.sub(lambda found: drawn[found[0]], content)
    counted = sorted(set(_COUNTED.findall(content)), key=lambda name: int(name[1:]))
    named = {name: f"p{place}" for place, name in enumerate(counted)}
    return library + body + re.sub(r'"(p\d+)"', lambda found: f'"{named.get(found[1], found[1])}"', content)


def _point_columns(
    cases: MapCases, layouts: Mapping[str, NDArray[np.floating]], shown: NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, Any]:
    """Tabulate the points; they refer to images by their place among those shown."""
    near = cases.neighbours
    markers = list(islice(cycle(_MARKERS), len(class_names)))
    coordinates = {
        f"{axis}{place}": layout[:, side].astype(np.float64).round(4).tolist()
        for place, layout in enumerate(layouts.values())
        for side, axis in enumerate("xy")
    }
    return coordinates | {
        "x": coordinates["x0"],
        "y": coordinates["y0"],
        "marker": [markers[label] for label in cases.labels[cases.points]],
        "image": np.searchsorted(shown, cases.points).tolist(),
        "predicted": [class_names[label] for label in cases.predicted],
        "confidence": cases.confidence.astype(np.float64).round(4).tolist(),
        "neighbours": np.searchsorted(shown, near.ids).tolist(),
        "closeness": [
            [f"{CLOSENESS[near.metric]} {near.closeness(row, place)}" for place in range(near.ids.shape[1])]
            for row in range(len(near.ids))
        ],
    }


def _groups(cases: MapCases, class_names: Sequence[str]) -> dict[str, list[_Group]]:
    """Sort the points for each colouring; every group is drawn above those before it."""
    labels, colors = cases.labels[cases.points], class_colors(len(class_names))
    wrong = cases.predicted != labels
    confidence = linear_cmap("confidence", Viridis256, low=1 / len(class_names), high=1)
    by_class, by_error, by_confidence = [], [_Group("predicted correctly", _UNREMARKABLE, ~wrong)], []
    for label, (name, color) in enumerate(zip(class_names, colors, strict=True)):
        by_class.append(_Group(name, color, labels == label))
        by_error.append(_Group(f"{name}, predicted otherwise", color, wrong & (labels == label)))
        by_confidence.append(_Group(name, confidence, labels == label))
    return dict(zip(COLOURINGS, (by_class, by_error, by_confidence), strict=True))


def _draw(plot: figure, points: ColumnDataSource, group: _Group, *, visible: bool) -> GlyphRenderer:
    members = IndexFilter(indices=np.flatnonzero(group.members).tolist())
    renderer = _scatter(
        plot, points, members, marker="marker", size=8, color=group.color, alpha=0.8, line_color="white",
        line_width=0.4,
    )  # fmt: skip
    renderer.visible = visible
    renderer.name = f"{group.name} ({int(group.members.sum())})"
    return renderer


def _scatter(plot: figure, points: ColumnDataSource, members: IndexFilter, **style: Any) -> GlyphRenderer:
    renderer = plot.scatter("x", "y", source=points, view=CDSView(filter=members), **style)
    # A chosen point would dim all others, which the ring around it makes needless.
    renderer.selection_glyph = renderer.nonselection_glyph = None
    return renderer


def _layout_choice(plot: figure, points: ColumnDataSource, names: list[str]) -> RadioButtonGroup:
    choice = RadioButtonGroup(labels=names, active=0, margin=(24, 5, 5, 5))
    choice.js_on_change(
        "active",
        CustomJS(
            args={"points": points, "plot": plot},
            code="""
            points.data = {...points.data, x: points.data["x" + this.active], y: points.data["y" + this.active]}
            plot.reset.emit()
            """,
        ),
    )
    return choice


def _colour_choice(plot: figure, groups: dict[str, list[GlyphRenderer]]) -> Select:
    """Add the legends and the colour bar, and the choice of which are seen."""
    seen: dict[str, list[Any]] = {}
    for name, renderers in groups.items():
        items = [LegendItem(label=renderer.name, renderers=[renderer]) for renderer in renderers]
        legend = Legend(
            items=items, orientation="horizontal", location="center", click_policy="hide", visible=name == COLOURINGS[0]
        )
        legend.border_line_color = None
        plot.add_layout(legend, "below")
        seen[name] = [*renderers, legend]
    bar = ColorBar(
        color_mapper=groups["confidence"][0].glyph.fill_color.transform,
        title="probability of the predicted class",
        visible=False,
    )
    plot.add_layout(bar, "right")
    seen["confidence"].append(bar)
    options: list[str | tuple[Any, str]] = [*COLOURINGS]
    choice = Select(title="colour by", value=COLOURINGS[0], options=options, width=140)
    choice.js_on_change(
        "value",
        CustomJS(
            args={"seen": [seen[name] for name in COLOURINGS]},
            code="""
            seen.forEach((parts, place) => {
              for (const part of parts) part.visible = this.options[place] == this.value
            })
            """,
        ),
    )
    return choice


def _finder(points: ColumnDataSource, images: ColumnDataSource) -> TextInput:
    example = images.data["name"][points.data["image"][0]]
    finder = TextInput(title="find an image", placeholder=f"{example}", width=140)
    finder.js_on_change(
        "value",
        CustomJS(
            args={"points": points, "images": images},
            code="""
            const wanted = this.value.trim().toLowerCase()
            const found = Array.from(points.data.image, image => images.data.name[image].toLowerCase()).indexOf(wanted)
            this.title = found < 0 && wanted ? "not on this map" : "find an image"
            points.selected.indices = found < 0 ? [] : [found]
            """,
        ),
    )
    return finder


def _heading(title: str, *, phantoms: bool) -> Div:
    warning = f"<p class='warning'>{escape(PHANTOM_NOTICE)}</p>" if phantoms else ""
    return Div(
        text=f"<h1>{escape(title)}</h1>{warning}<p>{escape(RESEARCH_NOTICE)} Neighbourhoods on a map may be real, its "
        "distances are not: the panel shows the neighbours that the search finds.</p>",
        stylesheets=[_STYLE.read_text()],
        sizing_mode="stretch_width",
    )


def _sprite_style(images: NDArray[np.uint8], columns: int) -> str:
    """Lay all images out on one sheet, of which an element of class `xray` shows the cell at --column and --row."""
    rows = -(-len(images) // columns)
    height, width, *channels = images.shape[1:]
    cells = np.zeros((rows * columns, height, width, *channels), dtype=np.uint8)
    cells[: len(images)] = images
    sheet = cells.reshape(rows, columns, height, width, -1).swapaxes(1, 2).reshape(rows * height, columns * width, -1)
    address = base64.b64encode(encode_png(sheet if channels else sheet[..., 0])).decode()
    return f"""
    :host {{ --columns: {columns}; --ratio: {height / width}; }}
    .xray {{ background-image: url("data:image/png;base64,{address}"); }}
    """
