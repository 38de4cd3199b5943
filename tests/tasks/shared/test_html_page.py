"""A report as a page: its pictures in it, nothing from elsewhere, text as text."""

import base64

from tasks.shared.html_page import html_page

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
