"""Picture of the packages and of the imports between them: `python -m docs.tools.architecture FILE.svg`.

It is drawn from the code, so that it shows what is, and refuses to draw a circle.
"""

import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import networkx
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

FLOORS = ("flows", "deployments", "tasks", "models")
"""Top-level packages from the top of the picture to its bottom."""
_COLOURS = {"flows": "#d7e8f7", "deployments": "#e8e3f3", "tasks": "#fdf0d5", "models": "#ddf0e0"}
_ROW, _WIDTH, _GAP = 1.5, 15.0, 0.25


def packages() -> dict[str, set[str]]:
    """Find the packages of the project, down to the second level, and which of them each imports.

    Returns:
        Imported packages by package; a module directly below a top-level package belongs to that package.
    """
    graph = grimp.build_graph(*FLOORS)
    folders = {module for module in graph.modules if graph.find_children(module)}
    imports: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        imports[_package(module, folders)] |= {
            _package(other, folders) for other in graph.find_modules_directly_imported_by(module)
        }
    found = {package: others - {package} for package, others in imports.items()}
    return {package: others for package, others in found.items() if others or package in set().union(*found.values())}


def rows(imports: dict[str, set[str]]) -> list[list[str]]:
    """Put packages in rows, each above all that it imports.

    Args:
        imports: imported packages by package.

    Returns:
        The rows from top to bottom.

    Raises:
        graphlib.CycleError: packages import each other in a circle.
    """
    depth: dict[str, int] = {}
    for package in TopologicalSorter(imports).static_order():
        depth[package] = 1 + max((depth[other] for other in imports.get(package, ())), default=-1)
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for package in sorted(depth, key=lambda name: (FLOORS.index(name.split(".")[0]), name)):
        found[max(depth.values()) - depth[package]].append(package)
    return found


def draw(imports: dict[str, set[str]]) -> Figure:
    """Draw the packages in rows; a line leads down to what is imported, but where other lines lead there too.

    Args:
        imports: imported packages by package.

    Returns:
        The figure.
    """
    placed = rows(imports)
    figure = Figure(figsize=(_WIDTH, _ROW * len(placed)), layout="constrained")
    axes = figure.add_subplot(xlim=(0, _WIDTH), ylim=(-_ROW * len(placed), 0))
    axes.set_axis_off()
    centres: dict[str, tuple[float, float]] = {}
    for level, row in enumerate(placed):
        width = min(3.0, _WIDTH / len(row)) - _GAP
        left = (_WIDTH - len(row) * (width + _GAP)) / 2
        for position, package in enumerate(row):
            x, y = left + position * (width + _GAP) + _GAP / 2, -_ROW * level - 0.9
            box = FancyBboxPatch((x, y), width, 0.6, "round,pad=0.05", color=_COLOURS[package.split(".")[0]], zorder=2)
            axes.add_patch(box)
            name = package.replace(".", "/\n", 1) if "." in package else f"{package}/"
            axes.text(x + width / 2, y + 0.3, name, ha="center", va="center", fontsize=10, zorder=3)
            centres[package] = x + width / 2, y
    for package, other in networkx.transitive_reduction(networkx.DiGraph(imports)).edges:
        (x, y), (to_x, to_y) = centres[package], centres[other]
        axes.plot([x, to_x], [y, to_y + 0.6], color="#7d8896", linewidth=1, zorder=1)
    return figure


def _package(module: str, folders: set[str]) -> str:
    parts = module.split(".")
    second = ".".join(parts[:2])
    return second if second in folders else parts[0]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("error: usage: python -m docs.tools.architecture FILE.svg\n")
        raise SystemExit(2)
    try:
        draw(packages()).savefig(Path(sys.argv[1]))
    except CycleError as circle:
        sys.stderr.write(f"error: these packages import each other in a circle: {' → '.join(circle.args[1])}.\n")
        raise SystemExit(1) from None
