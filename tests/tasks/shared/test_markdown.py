from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.shared.markdown import document, table


def test_a_table_has_its_cells_in_order_and_escapes_what_would_break_it():
    text = table(["name", "value"], [["a|b", 0.12345], ["line\nbreak", 7]])
    assert text.splitlines() == [
        "| name | value |", "| --- | --- |", "| a\\|b | 0.123 |", "| line break | 7 |",
    ]  # fmt: skip


def test_a_document_says_the_notices_first():
    text = document("Title", [("One", "first"), ("Two", "second")], phantoms=False)
    assert text.startswith(f"# Title\n\n> {RESEARCH_NOTICE}\n")
    assert text.index("## One\n\nfirst") < text.index("## Two\n\nsecond")
    assert PHANTOM_NOTICE not in text
    assert PHANTOM_NOTICE in document("Title", [], phantoms=True)
