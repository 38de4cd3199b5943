"""The notebook that is published is what its script makes. It is executed in `tests/flows/test_cases.py`."""

import nbformat

from docs.tools.notebook import NOTEBOOK, SCRIPT, notebook


def test_cells_of_text_and_code_are_told_apart():
    made = notebook("# %% [markdown]\n# # Title\n#\n# Two\n# lines.\n\n# %%\nx = 1  # one\n\nx\n")
    nbformat.validate(made)
    assert [(cell.cell_type, cell.source) for cell in made.cells] == [
        ("markdown", "# Title\n\nTwo\nlines."),
        ("code", "x = 1  # one\n\nx"),
    ]


def test_the_published_notebook_is_that_of_its_script_with_its_outputs():
    published, made = nbformat.read(NOTEBOOK, nbformat.NO_CONVERT), notebook(SCRIPT.read_text())
    nbformat.validate(published)
    assert [(cell.id, cell.source) for cell in published.cells] == [(cell.id, cell.source) for cell in made.cells]
    kinds = {output.output_type for cell in published.cells for output in cell.get("outputs", [])}
    assert "display_data" in kinds and "error" not in kinds
    assert NOTEBOOK.stat().st_size < 1 << 20
    assert "/tmp/" not in NOTEBOOK.read_text() and "/home/" not in NOTEBOOK.read_text()
