"""A report as one HTML page with its pictures in it.

MLflow's viewer of Markdown shows no picture, from wherever it would come. Its viewer of HTML shows a page that needs
nothing from elsewhere, in a frame in which no link leads out: so links become text.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tasks.shared.markdown import FOLDED, folded_title

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
summary { cursor: pointer; color: var(--soft); }
details { margin: 1rem 0; }
"""


def html_page(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """Write a report as a page with its pictures where it has them, and others before its first section.

    Args:
        markdown: the report. HTML in it is shown as text; tables of more than `FOLDED` rows are folded.
        pictures: PNG by address, that of a picture of the report or any other.

    Returns:
        HTML that fetches nothing.
    """
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in ("link_open", "link_close"):
        renderer.add_render_rule(rule, _text)
    placed: set[str] = set()

    def image(_: Any, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
        address, caption = str(tokens[index].attrs["src"]), html.escape(tokens[index].content)
        placed.add(address)
        return _image(caption, pictures[address]) if address in pictures else caption

    renderer.add_render_rule("image", image)
    renderer.add_render_rule("table_open", _table_open)
    renderer.add_render_rule("table_close", _table_close)
    head, section, rest = markdown.partition("\n## ")
    title = html.escape(head.partition("\n")[0].lstrip("# "))
    opening, body = renderer.render(head), renderer.render(section + rest)
    figures = "".join(
        _figure(Path(address).stem.replace("_", " "), png) for address, png in pictures.items() if address not in placed
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{opening}\n{figures}\n{body}</body>\n</html>\n"
    )


def _table_open(_: Any, tokens: Sequence[Token], index: int, options: Any, environment: dict[str, Any]) -> str:
    kinds = [token.type for token in tokens[index:]]
    within = tokens[index : index + kinds.index("table_close")]
    rows = sum(token.type == "tr_open" for token in within) - 1
    environment["folded"] = rows > FOLDED
    if not environment["folded"]:
        return "<table>\n"
    columns = [_plain(after) for token, after in pairwise(within) if token.type == "th_open"]
    return f"<details><summary>{html.escape(folded_title(columns, rows))}</summary>\n<table>\n"


def _table_close(_: Any, tokens: Sequence[Token], index: int, options: Any, environment: dict[str, Any]) -> str:
    return "</table>\n" + "</details>\n" * environment["folded"]


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _figure(name: str, png: bytes) -> str:
    shown = html.escape(name)
    return f"<figure>{_image(shown, png)}<figcaption>{shown}</figcaption></figure>\n"


def _image(caption: str, png: bytes) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{caption}">'


def _text(renderer: Any, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
    """Leave of a link its text."""
    return html.escape(tokens[index].content)
