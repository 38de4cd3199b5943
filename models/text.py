"""Text from outside (file names, fields of a file, what a library says of it), made fit to be shown.

Terminals obey escape sequences, logs are read line by line, and a damaged length makes one field of a file swallow the
next, a patient's name for instance. So what comes from a file is shown short, on one line and without control
characters. And an address is shown without the login that it may hold: libraries quote it where it does not answer.
"""

import re
import unicodedata

SHORT = 100
_LOOKED_AT = 10_000  # characters: a file may hold megabytes
_STEERING = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})  # of Unicode; the last two break a line
_LOGIN = re.compile(r"""(?<=://)[^\s/?#"'<>]*@""")


def printable(value: object, most: int = SHORT) -> str:
    """Make text fit for one line of a terminal, a log or a state message.

    White space becomes single spaces. Characters that show nothing or steer the display (controls, directional marks,
    lone surrogates) are written as Python escapes. Of a longer text the middle is left out.

    Args:
        value: what is shown, as `str` writes it.
        most: characters of the result, at least 3.

    Returns:
        At most so many printable characters.
    """
    text = str(value)
    if len(text) > 2 * _LOOKED_AT:
        text = f"{text[:_LOOKED_AT]} … {text[-_LOOKED_AT:]}"
    text = without_logins(text)  # before it is cut: half of a login looks like none
    if len(text) > 2 * most:
        text = f"{text[:most]} … {text[-most:]}"
    text = one_line(text)
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[len(text) - tail :]}"


def one_line(value: object) -> str:
    """Make text of any length fit for one line, as `printable` does.

    Args:
        value: what is shown, as `str` writes it.

    Returns:
        The whole text, printable.
    """
    return "".join(map(_shown, " ".join(without_logins(str(value)).split())))


def visible(text: str) -> str:
    """Write control characters as `printable` does, but leave white space as it is.

    Args:
        text: of any length and any number of lines.

    Returns:
        The text, which steers no terminal.
    """
    plain = without_logins(text)
    return "".join(character if character in "\n\t" else _shown(character) for character in plain)


def without_logins(text: str) -> str:
    """Leave user and password out of every address in a text: `https://me:secret@host/` is `https://host/`."""
    return _LOGIN.sub("", text)


def holds_login(text: str) -> bool:
    """Tell whether a text holds an address with a login."""
    return _LOGIN.search(text) is not None


def _shown(character: str) -> str:
    if unicodedata.category(character) in _STEERING:
        return character.encode("unicode_escape").decode("ascii")
    return character


def reason(error: BaseException) -> str:
    """Say why something failed, as the error itself does if it has words for it, else by the name of its kind.

    Args:
        error: of any library; some hold a key or a place where others hold a sentence.

    Returns:
        What may stand in the brackets of a sentence.
    """
    said = error.args[0] if error.args else ""
    if isinstance(error, OSError) and error.strerror:
        said = error.strerror
    return printable(said).rstrip(".") if isinstance(said, str) and " " in said else type(error).__name__
