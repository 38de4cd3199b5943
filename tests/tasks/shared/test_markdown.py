from html import unescape

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.shared.markdown import (
    FOLDED,
    LONG,
    divide,
    document,
    figures_of,
    fold,
    join,
    picture,
    place_links,
    place_pictures,
    table,
)


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


def test_long_tables_come_last_and_everything_else_keeps_its_order():
    long, short = (table(["n"], [[n] for n in range(rows)]) for rows in (LONG + 1, LONG))
    text = document("Title", [("A", long), ("B", short), ("C", f"words\n\n{long}"), ("D", "words")], phantoms=False)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == ["B", "D", "A", "C"]


def test_pictures_are_placed_with_their_captions_or_taken_out():
    text = document("T", [("A", picture("roc_curve", "What *it* means.") + "| a |"), ("B", picture("other", "Gone."))],
                    phantoms=False)  # fmt: skip
    assert list(figures_of(text)) == ["roc_curve", "other"]
    placed = place_pictures(text, {"roc_curve": "data:image/png;base64,AA"}.get)
    assert "![roc curve](data:image/png;base64,AA)\n\n*What \\*it\\* means.*\n\n| a |" in placed
    assert "Gone" not in placed and "other" not in placed
    assert place_pictures(text, lambda name: f"figures/{name}.png") == text


def test_links_to_files_beside_a_document_are_placed_and_no_others():
    text = "[pages](cases/index.html), [out](https://example.org/a.html), \\[no\\](x.html)"
    assert place_links(text, lambda path: f"http://there/{path}") == text.replace("(cases", "(http://there/cases")


def test_a_document_can_begin_with_some_of_its_figures_which_leave_their_sections():
    one, two = picture("number_one", "First."), picture("two", "Second.")
    text = document("T", [("A", one), ("B", f"{two}words"), ("C", "more")], phantoms=False)
    head, figures, sections = divide(text, ["two", "number_one", "no_place"])
    assert head == f"# T\n\n> {RESEARCH_NOTICE}"
    assert figures == (two.strip(), one.strip(), "![no place](figures/no_place.png)")
    assert sections == ("## B\n\nwords", "## C\n\nmore")
    assert join([*divide(text, []).sections[:2], "", "last"]) == f"## A\n\n{one}## B\n\n{two}words\n\nlast\n"
    shown = place_pictures(join(figures), {"no_place": "data:,"}.get)
    assert shown == "![no place](data:,)\n"


def test_long_tables_are_folded_under_the_titles_of_their_columns_and_short_ones_stay():
    short, long = (table(["", "a|b", "<c> & d_"], [[1, 2, 3]] * rows) for rows in (FOLDED, FOLDED + 1))
    assert fold(f"words\n\n{short}\nwords\n") == f"words\n\n{short}\nwords\n"
    title = f"{FOLDED + 1} rows: a|b, &lt;c&gt; &amp; d_"
    folded = f"<details><summary>{title}</summary>\n\n{long}\n</details>\n"
    assert fold(f"words\n\n{long}\nwords\n") == f"words\n\n{folded}\n\nwords\n"


def test_the_title_of_a_folded_table_is_text():
    hostile = "</summary><script>alert(1)</script>&lt;b&gt; *x* `y`"
    title = fold(table([hostile], [[1]] * (FOLDED + 1))).partition("<summary>")[2].partition("</summary>\n")[0]
    assert "<" not in title and ">" not in title
    assert unescape(title) == f"{FOLDED + 1} rows: {hostile}"
