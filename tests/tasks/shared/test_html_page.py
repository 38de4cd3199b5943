"""A report as a page: its pictures in it, nothing from elsewhere, text as text."""

import base64

from tasks.shared.html_page import html_page
from tasks.shared.markdown import FOLDED, table

REPORT = """# A & B

> Research use only.

## First

| a | b |
| --- | --- |
| 1 | **2** |

[child](#/experiments/1) <b>raw</b>
"""


def test_pictures_stand_before_the_first_section():
    page = html_page(REPORT, {"roc curve": b"PNG", "grad <cam>": b"GNP"})
    place = [
        page.index(part)
        for part in ("<h1>A &amp; B</h1>", "Research use only", "<figure>", "<h2>First</h2>", "<table>")
    ]
    assert place == sorted(place)
    assert f"data:image/png;base64,{base64.b64encode(b'PNG').decode()}" in page
    assert "<figcaption>roc curve</figcaption>" in page
    assert "<figcaption>grad &lt;cam&gt;</figcaption>" in page
    assert "<title>A &amp; B</title>" in page


def test_links_and_html_are_text():
    page = html_page(REPORT + "\n![picture](https://example.org/x.png)\n", {})
    assert "child" in page
    assert "<a " not in page
    assert "<img" not in page
    assert "&lt;b&gt;raw&lt;/b&gt;" in page
    assert "default-src 'none'" in page
    assert "<strong>2</strong>" in page


def test_a_report_without_sections_is_a_page_too():
    assert "<h1>Short</h1>" in html_page("# Short\n", {})


def test_long_tables_are_folded_and_short_ones_stay():
    short, long = (table(["", "a|b", "<c>"], [[1, 2, rows]] * rows) for rows in (FOLDED, FOLDED + 1))
    page = html_page(f"# T\n\n{long}\n{short}\nwords\n", {})
    folded, rest = page.partition("<details>")[2].split("</details>")
    assert folded.startswith(f"<summary>{FOLDED + 1} rows: a|b, &lt;c&gt;</summary>\n<table>")
    assert folded.count("<tr>") == FOLDED + 2
    assert rest.count("<table>") == rest.count("</table>") == 1 and rest.count("<tr>") == FOLDED + 1
