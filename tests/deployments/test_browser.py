"""A real headless Chromium on a page of a few lines."""

import io
import shutil

import pytest
from PIL import Image

from deployments import browser
from deployments.browser import Browser
from models.errors import InputError

PAGE = """<p>waiting</p><button aria-label="Fold up">x</button><script>
setTimeout(() => { document.querySelector('p').innerText = 'ready' }, 500)
document.querySelector('button').onclick = () => { document.body.style.background = 'rgb(0, 0, 255)' }
</script>"""

with_chromium = pytest.mark.skipif(not any(map(shutil.which, browser._PROGRAMS)), reason="needs Chromium")


@with_chromium
def test_a_page_is_waited_for_clicked_and_pictured(tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    with Browser() as opened:
        opened.resize(300, 200)
        opened.open((tmp_path / "page.html").as_uri())
        opened.wait_for("ready")
        opened.click("Fold up")
        picture = Image.open(io.BytesIO(opened.picture())).convert("RGB")
        process = opened._process
    assert picture.size == (300, 200)
    assert picture.getpixel((299, 199)) == (0, 0, 255)
    assert process.poll() is not None


@with_chromium
def test_what_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "_PATIENCE_SECONDS", 2)
    (tmp_path / "page.html").write_text(PAGE)
    with Browser() as opened:
        opened.open((tmp_path / "page.html").as_uri())
        with pytest.raises(InputError, match="did not show “nothing of this” within 2 s"):
            opened.wait_for("nothing of this")
        with pytest.raises(InputError, match="has nothing labelled “Unfold”"):
            opened.click("Unfold")


def test_a_missing_chromium_is_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="no browser: none of chromium"), Browser():
        pass
