"""That canaries are seen where they are: each check finds what it is there for."""

import io
import sqlite3

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.markdown import escape
from models.text import one_line, printable
from tests.support import canary

TEXT = canary.text("field", 300)


def _table(path, cell):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (c TEXT)")
    connection.execute("INSERT INTO t VALUES (?)", (cell * 100,))  # over several pages
    connection.commit()
    connection.close()


def _picture(path, cell):
    info = PngInfo()
    info.add_text("title", cell, zip=True)
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, "PNG", pnginfo=info)
    path.write_bytes(file.getvalue())


@pytest.mark.parametrize("suffix", [".log", ".db", ".png"])
def test_what_steers_a_display_and_what_is_long_are_found(tmp_path, suffix):
    write = {".log": lambda path, cell: path.write_text(cell), ".db": _table, ".png": _picture}[suffix]
    raw, shown = TEXT if suffix != ".png" else TEXT.encode().decode("latin-1"), printable(TEXT)
    for name, cell in (("raw", raw), ("shown", shown)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / f"a{suffix}", cell)
    for place in (tmp_path / "raw", tmp_path / "raw" / f"a{suffix}"):
        assert canary.raw([place]) and canary.long([place])
    assert not canary.raw([tmp_path / "shown"]) and not canary.long([tmp_path / "shown"])
    assert canary.fields([tmp_path / "shown"]) == {"field"}
    assert canary.holding([tmp_path / "shown"], [canary.MARK]) and not canary.holding([tmp_path / "shown"], ["Nothing"])


def test_what_is_obeyed_is_found_in_html_and_in_markdown(tmp_path):
    line = one_line(TEXT)
    (tmp_path / "a.html").write_text(f"<p>{line}</p>")
    assert len(canary.obeyed_pages([tmp_path])) == 2
    found = canary.obeyed_pages([], [f"a {line.replace('<', '')}", f"| {line} |"])
    assert any("javascript:" in said for said in found) or any(canary.ELSEWHERE in said for said in found)
    assert any("onerror" in said for said in found)
    assert not canary.obeyed_pages([], [f"a {escape(TEXT)}", str(escape(TEXT))])
