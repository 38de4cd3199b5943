"""A person with a browser, at the page where one drops X-rays."""

import base64
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs.tools.screenshots import _PROGRAMS, opened_page

needs_chromium = pytest.mark.skipif(not any(map(shutil.which, _PROGRAMS)), reason="needs Chromium")
NARROW = {"width": 390, "height": 844}
FOUND_SECONDS = 400  # beside other tests; the first run loads PyTorch and computes what pictures are compared with
_FILES = """files => {
  const transfer = new DataTransfer();
  for (const [name, content] of files)
    transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
  return transfer;
}"""


@contextmanager
def person(address: str) -> Iterator:
    """Open the page in a browser that complains of whatever its pages must not do.

    Yields:
        Playwright's page.
    """
    with opened_page() as page:
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        yield page
        assert not [url for url in asked if not url.startswith((f"{address}/", "data:"))]
        # What the server refuses, the browser notes; anything else is a fault of the page or against its policy.
        assert not [words for words in said if "the server responded with a status of 4" not in words]


def drop(page, files: Sequence[tuple[str, bytes]]) -> None:
    """Let files go over the page, as one does with a mouse."""
    transfer = page.evaluate_handle(_FILES, [[name, base64.b64encode(content).decode()] for name, content in files])
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def choose(page, selector: str, files: Sequence[Path], key: str) -> None:
    """Go to a button with the keyboard alone, press it, and choose files."""
    with page.expect_file_chooser() as chooser:  # from now on, since the browser takes a moment to hold its own back
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                break
        outline = page.evaluate("getComputedStyle(document.activeElement.labels[0]).outlineStyle")
        assert outline == "solid", "one must see where one is"
        page.keyboard.press(key)
    chooser.value.set_files(files)


def found(page):
    """Wait for what was found.

    Returns:
        The frame with it.
    """
    page.wait_for_selector("iframe.found", timeout=FOUND_SECONDS * 1000)
    frame = page.query_selector("iframe.found").content_frame()
    frame.wait_for_load_state()
    return frame


def fits(page) -> bool:
    """Tell whether nothing has to be scrolled sideways, in the page and in what it shows."""
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    return all(frame.evaluate(wide) for frame in page.frames)


def is_dark(page) -> bool:
    """Tell whether the page and what it shows have light text on a dark ground."""
    ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every(part => part < 60)"
    text = "getComputedStyle(document.body).color.match(/\\d+/g).slice(0, 3).every(part => part > 195)"
    return all(frame.evaluate(f"{ground} && {text}") for frame in page.frames)
