"""The pictures are of running services only."""

import os
import shutil
import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from docs.tools import screenshots
from models.errors import InputError
from tests.conftest import CHECKOUT

PAGE = "<p>waiting</p><script>setTimeout(() => { document.querySelector('p').innerText = 'ready' }, 500)</script>"

with_chromium = pytest.mark.skipif(not any(map(shutil.which, screenshots._PROGRAMS)), reason="needs Chromium")


@with_chromium
def test_a_page_is_waited_for(tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text(PAGE)
    address = (tmp_path / "page.html").as_uri()
    monkeypatch.setattr(screenshots, "_SETTLE", 1)
    with screenshots.opened_page() as page:
        page.set_viewport_size({"width": 300, "height": 200})
        screenshots.show(page, address, "ready")
        assert Image.open(BytesIO(page.screenshot())).size == (300, 200)
        page.set_default_timeout(1_000)
        page.set_default_navigation_timeout(60_000)
        with pytest.raises(InputError, match="did not show “nothing of this”"):
            screenshots.show(page, address, "nothing of this")


def test_without_services_there_is_one_sentence(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    command = [sys.executable, "-m", "docs.tools.screenshots", str(tmp_path / "pictures")]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=kept | {"OUTPUTS": str(tmp_path)}, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the services are not up: start them with `make up`")
    assert len(done.stderr.splitlines()) == 1
