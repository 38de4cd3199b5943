"""A headless Chromium, driven through its DevTools protocol: open a page, wait for what it shows, take a picture."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from websockets.sync.client import ClientConnection, connect

from models.errors import InputError

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START_SECONDS = 60
_PATIENCE_SECONDS = 60
_POLL_SECONDS = 0.25


class Browser:
    """A browser with one page; a context manager, which ends the browser and removes its profile."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        """Start the browser.

        Raises:
            InputError: there is none on this machine, or it does not start.
        """
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        if program is None:
            raise InputError(f"no browser: none of {', '.join(_PROGRAMS)} is on the PATH; install chromium.")
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command = [program, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        command += ["--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={self._profile.name}"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium refuses to start for root with its sandbox
        self._process = subprocess.Popen(
            [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._page = connect(self._address(program), max_size=None)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the browser with all its processes."""
        self._page.close()
        self._end()

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        """Go to an address, from an empty page, so that a page which only looks at `#…` starts anew too."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=address)

    def wait_for(self, text: str) -> None:
        """Wait until the page shows a text and no longer changes.

        Args:
            text: what must be there to read.

        Raises:
            InputError: it is not there within a minute.
        """
        found = self._until(f"document.body?.innerText.includes({json.dumps(text)})")
        if not found:
            address = self.run("location.href")
            raise InputError(f"{address} did not show “{text}” within {_PATIENCE_SECONDS} s: open it and look why.")
        self.settle()

    def settle(self, seconds: float = 2.0) -> None:
        """Wait until the page has not changed for a while."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        seen, since = "", time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < seconds:
            now = self.run("document.documentElement.outerHTML.length + document.body.innerText")
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(_POLL_SECONDS)

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page and return its value."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def click(self, label: str) -> None:
        """Click what carries exactly this label, to read or for a screen reader.

        Args:
            label: text of a button, link or switch, or its accessible name.

        Raises:
            InputError: there is no such thing within a minute.
        """
        wanted = json.dumps(label)
        found = self._until(
            "(() => { const found = [...document.querySelectorAll('button, a, [role=button], [role=switch]')].find("
            f"each => each.innerText.trim() === {wanted} || each.getAttribute('aria-label') === {wanted});"
            "found?.click(); return Boolean(found); })()"
        )
        if not found:
            raise InputError(f"{self.run('location.href')} has nothing labelled “{label}”: open it and look why.")
        self.settle()

    def picture(self) -> bytes:
        """Take a picture of the window as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def _until(self, script: str) -> bool:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.run(script):
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _address(self, program: str) -> str:
        """Return the address at which the page's protocol is spoken, once the browser has said its port."""
        noted = Path(self._profile.name) / "DevToolsActivePort"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            lines = noted.read_text().split() if noted.exists() else []
            if lines:
                with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json", timeout=_START_SECONDS) as answer:
                    pages = [target for target in json.load(answer) if target["type"] == "page"]
                if pages:
                    return str(pages[0]["webSocketDebuggerUrl"])
            time.sleep(_POLL_SECONDS)
        raise InputError(f"{program} did not start within {_START_SECONDS} s: try `{program} --headless about:blank`.")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        page: ClientConnection = self._page
        page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(page.recv(timeout=_PATIENCE_SECONDS))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    def _end(self) -> None:
        """End the browser with the processes that it started, and remove its profile."""
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            browser = psutil.Process(self._process.pid)
            family = [*browser.children(recursive=True), browser]
        self._process.terminate()
        _, left = psutil.wait_procs(family, timeout=10)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._profile.cleanup()
