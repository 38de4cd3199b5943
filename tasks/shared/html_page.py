"""A report as one HTML page with its pictures in it.

MLflow's viewer of Markdown shows no picture, from wherever it would come. Its viewer of HTML shows a page that needs
nothing from elsewhere, in a frame in which no link leads out: so links become text.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --text: #1c2330; --soft: #566072; --line: #d5d9e0; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #12161d; --text: #e6eaf0; --soft: #a3aebf; --line: #36404f; }
}
body {
  margin: 0 auto; padding: 1rem 1.25rem 3rem; max-width: 62rem; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif;
}
figure { margin: 1.5rem 0; }
figcaption { color: var(--soft); font-size: .875rem; }
img { display: block; max-width: 100%; height: auto; background: #ffffff; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 4px solid var(--line); }
code { overflow-wrap: anywhere; }
"""


def html_page(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """Write a report as a page, its pictures before its first section.

    Args:
        markdown: the report. HTML in it is shown as text.
        pictures: PNG by caption.

    Returns:
        HTML that fetches nothing.
    """
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in ("link_open", "link_close", "image"):
        renderer.add_render_rule(rule, _text)
    head, section, rest = markdown.partition("\n## ")
    title = html.escape(head.partition("\n")[0].lstrip("# "))
    figures = "".join(_figure(caption, png) for caption, png in pictures.items())
    return (
        f'<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{renderer.render(head)}\n{figures}\n{renderer.render(section + rest)}</body>\n</html>\n"
    )


def _figure(caption: str, png: bytes) -> str:
    shown = html.escape(caption)
    data = base64.b64encode(png).decode()
    return f'<figure><img src="data:image/png;base64,{data}" alt="{shown}"><figcaption>{shown}</figcaption></figure>\n'


def _text(renderer: Any, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
    """Leave of a link or a picture its text."""
    return html.escape(tokens[index].content)
