"""The notebook: made from a script, and executed."""

import hashlib
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SCRIPT = Path(__file__).parent.parent / "quickstart.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
_CELL, _TEXT = "# %%", "[markdown]"


def notebook(script: str) -> NotebookNode:
    """Make a notebook of a script in the percent format, which editors run cell by cell.

    Args:
        script: its text; a line `# %%` opens a cell of code, `# %% [markdown]` one of text in comments.

    Returns:
        The notebook, without outputs. A cell has the same id as long as its text is the same.
    """
    cells = []
    for part in ("\n" + script).split(f"\n{_CELL}")[1:]:
        kind, _, body = part.partition("\n")
        if kind.strip() == _TEXT:
            cell = new_markdown_cell(
                "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().split("\n"))
            )
        else:
            cell = new_code_cell(body.strip())
        cell.id = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        cells.append(cell)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return new_notebook(cells=cells, metadata=kernel | {"language_info": {"name": "python"}})


def execute(made: NotebookNode, folder: Path, seconds: int | None = None) -> NotebookNode:
    """Run all cells in a kernel of this environment.

    Args:
        made: the notebook.
        folder: where the kernel starts.
        seconds: that a cell may take; None sets no bound.

    Returns:
        The notebook with its outputs, in which files are named from the working folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    from nbclient import NotebookClient

    NotebookClient(
        made, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    for cell in made.cells:
        cell.metadata.pop("execution", None)  # moments, which differ each time
    return nbformat.reads(nbformat.writes(made).replace(f"{Path.cwd()}/", ""), nbformat.NO_CONVERT)


if __name__ == "__main__":
    made = execute(notebook(SCRIPT.read_text()), SCRIPT.parent)
    nbformat.write(made, NOTEBOOK)
    sys.stdout.write(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size // 1024} KiB\n")
