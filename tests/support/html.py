"""Reads pages as a browser does, without one."""

from html.parser import HTMLParser

SAFE_ATTRIBUTES = {
    "alt", "aria-hidden", "aria-label", "aria-labelledby", "charset", "class", "colspan", "content", "href",
    "http-equiv", "id", "lang", "name", "role", "scope", "src", "style", "tabindex",
}  # fmt: skip
_EMPTY = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Reads a page into its tags, its words outside style and script, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self._open}:
            self.pieces.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]
