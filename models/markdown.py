"""Text from outside within Markdown: shown as it is, never obeyed.

Reports of language models, file names and messages of libraries stand in documents that several programs render, each
with its own extensions of CommonMark: Prefect's pages, MLflow's, GitHub, readers of FHIR. `escape` and `link` are the
one way into such a document.
"""

import re
from urllib.parse import quote, urlsplit

from models.text import one_line


class Markdown(str):
    """Text that is Markdown already, which `escape` leaves alone."""

    __slots__ = ()


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}  # not every renderer knows a backslash before these
_MARKS = re.compile(r"[\\`*\[\]|~&<>]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is none
_BLOCK = re.compile(r"(?:[-+=]|#{1,6})(?:[-+=#\s]|$)|\d{1,9}(?P<item>[.)])(?:\s|$)")
_ADDRESS = re.compile(r"(?:https?|ftp|mailto|xmpp)(?=:)|www(?=\.)|@", re.IGNORECASE)
_JOINER = "\u2060"  # shows nothing and breaks no line
_SCHEMES = frozenset({"http", "https"})


def escape(value: object) -> Markdown:
    """Write text so that a renderer of Markdown shows it and obeys nothing in it.

    No emphasis, code, link, image, HTML, entity, table cell, heading, list or quotation comes of it, wherever in a
    line it stands. An address in it does not become a link by itself either: there is no sign to escape that with, so
    a word joiner, which shows nothing, stands within it.

    Args:
        value: the text, as `str` writes it; line breaks become spaces, control characters are shown as Python escapes.

    Returns:
        The text as Markdown on one line; what is `Markdown` already, as it is.

    Source: https://spec.commonmark.org/0.31.2 and https://github.github.com/gfm
    """
    if isinstance(value, Markdown):
        return value
    text = one_line(value)
    block = _BLOCK.match(text)
    text = _MARKS.sub(_escaped, text)
    if block:  # which holds no other mark
        at = block.start("item") if block["item"] else 0
        text = f"{text[:at]}\\{text[at:]}"
    return Markdown(_ADDRESS.sub(rf"\g<0>{_JOINER}", text))


def link(label: object, address: str) -> Markdown:
    """Write a link with text from outside.

    Args:
        label: what is shown.
        address: where it leads.

    Returns:
        The link; the escaped label alone where the address is none of the web (`javascript:` and its kind).
    """
    try:
        scheme = urlsplit(address).scheme
    except ValueError:
        return escape(label)
    if scheme not in _SCHEMES:
        return escape(label)
    target = quote(address, safe=_IN_ADDRESS, errors="replace")
    return Markdown(f"[{escape(label)}]({target})")


_IN_ADDRESS = "%/:=&?~#+!$,'@"  # no semicolon: "&copy;" would be read as an entity


def _escaped(mark: re.Match[str]) -> str:
    return _ENTITIES.get(mark[0], f"\\{mark[0]}")
