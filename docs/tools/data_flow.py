"""Picture of the data that flows through the pipeline: `python -m docs.tools.data_flow FILE.svg`.

It is drawn from the flows' code: a box is a step, and a line leads from it to those that take what it returns.
"""

import ast
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import networkx
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from flows import classification, reports, retrieval

LANES = (
    ("1. classification", classification, "classification"),
    ("2. retrieval, with each encoder", retrieval, "retrieve_with"),
    ("3. reports", reports, "report"),
)
"""Title, module and function of each lane of the picture."""
_COLOURS = ("#d7e8f7", "#ddf0e0", "#fdf0d5")
_COLUMN, _ROW, _BOX = 2.2, 0.62, (1.75, 0.4)


def data_flow(function: FunctionType) -> networkx.DiGraph:
    """Find the steps that a flow calls, and which takes what another one returns.

    Args:
        function: the flow's function.

    Returns:
        Names of the steps, and a line from each to those that take its result directly.
    """
    graph = networkx.DiGraph()
    named: dict[str, str] = {}  # variables that hold a step with other options
    sources: dict[str, set[str]] = defaultdict(set)  # steps behind each variable

    def step_of(node: ast.AST) -> str | None:
        """Name the step that an expression stands for, if it does."""
        if not isinstance(node, ast.Name):
            return None
        found = function.__globals__.get(named.get(node.id, node.id))
        is_step = ".steps" in getattr(getattr(found, "fn", found), "__module__", "")
        return named.get(node.id, node.id) if is_step else None

    def steps_in(node: ast.AST) -> set[str]:
        """Add the steps that an expression calls; return those whose results are in its value."""
        if isinstance(node, ast.Call):
            handed_on = bool(node.args) and step_of(node.args[0])  # to what starts or maps it
            called = node.args[0] if handed_on else node.func
            inputs = [each for each in [*node.args, *node.keywords] if each is not called]
            needed = set().union(*map(steps_in, inputs))
            if step := step_of(called):
                graph.add_edges_from((source, step) for source in needed)
                graph.add_node(step)
                return {step}
            return needed | steps_in(node.func)
        if isinstance(node, ast.Name):
            return set(sources[node.id])
        return set().union(*map(steps_in, ast.iter_child_nodes(node)))

    for statement in _statements(ast.parse(inspect.getsource(function))):
        if isinstance(statement, ast.Assign):
            owner = getattr(getattr(statement.value, "func", None), "value", None)
            if owner is not None and (step := step_of(owner)):  # `.with_options`
                named |= {target.id: step for target in statement.targets if isinstance(target, ast.Name)}
                continue
            found = steps_in(statement.value)
            for name in (each.id for target in statement.targets for each in ast.walk(target) if _is_name(each)):
                sources[name] |= found
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            found = steps_in(statement.value)
            owner = getattr(statement.value.func, "value", None)  # of `.append`
            if isinstance(owner, ast.Name):
                sources[owner.id] |= found
    graph.remove_nodes_from(list(networkx.isolates(graph)))  # gates, which hand nothing on
    return networkx.transitive_reduction(graph)


def draw(graphs: dict[str, networkx.DiGraph]) -> Figure:
    """Draw a lane for each flow, its steps in columns from left to right.

    Args:
        graphs: steps by the title of their lane.

    Returns:
        The figure.
    """
    columns = {title: [sorted(column) for column in networkx.topological_generations(graph)]
               for title, graph in graphs.items()}  # fmt: skip
    heights = {title: max(map(len, found)) * _ROW + 0.9 for title, found in columns.items()}
    width = max(map(len, columns.values())) * _COLUMN
    figure = Figure(figsize=(width, sum(heights.values())), layout="constrained")
    axes = figure.add_subplot(xlim=(0, width), ylim=(-sum(heights.values()), 0))
    axes.set_axis_off()
    top = 0.0
    for (title, found), colour in zip(columns.items(), _COLOURS, strict=True):
        axes.add_patch(FancyBboxPatch((0.1, top - heights[title] + 0.15), width - 0.2, heights[title] - 0.2,
                                      "round,pad=0.03", color=colour, alpha=0.45, zorder=0))  # fmt: skip
        axes.text(0.2, top - 0.15, title, ha="left", va="top", fontsize=12, weight="bold")
        places: dict[str, tuple[float, float]] = {}
        for column, steps in enumerate(found):
            start = top - 0.45 - (max(map(len, found)) - len(steps)) * _ROW / 2
            for row, step in enumerate(steps):
                places[step] = column * _COLUMN + 0.2, start - row * _ROW - _BOX[1]
        for step, (x, y) in places.items():
            axes.add_patch(FancyBboxPatch((x, y), *_BOX, "round,pad=0.03", facecolor="white", edgecolor="#7d8896",
                                          zorder=2))  # fmt: skip
            axes.text(x + _BOX[0] / 2, y + _BOX[1] / 2, step.replace("_", " ").replace(" ", "\n", 1), ha="center",
                      va="center", fontsize=9, zorder=3, linespacing=0.95)  # fmt: skip
        for first, second in graphs[title].edges:
            (x, y), (to_x, to_y) = places[first], places[second]
            axes.annotate("", (to_x - 0.03, to_y + _BOX[1] / 2), (x + _BOX[0] + 0.03, y + _BOX[1] / 2),
                          zorder=1, arrowprops={"arrowstyle": "->", "color": "#7d8896", "lw": 0.9})  # fmt: skip
        top -= heights[title]
    return figure


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def _statements(block: ast.AST) -> Iterator[ast.stmt]:
    """Yield statements as they stand in the code, whatever they stand in."""
    for child in ast.iter_child_nodes(block):
        if isinstance(child, ast.stmt):
            yield child
            yield from _statements(child)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("error: usage: python -m docs.tools.data_flow FILE.svg\n")
        raise SystemExit(2)
    flows = {title: data_flow(inspect.unwrap(getattr(module, name).fn)) for title, module, name in LANES}
    draw(flows).savefig(Path(sys.argv[1]))
