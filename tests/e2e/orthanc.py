"""A DICOM archive: Debian's Orthanc with its DICOMweb plugin, on this machine's loopback."""

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.e2e.services import wait_for
from tests.support.ports import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LOGIN = "radiology:a long secret: with a colon"


@contextlib.contextmanager
def orthanc(folder: Path, login: str | None = None) -> Iterator[SimpleNamespace]:
    """Start an archive; it logs to `orthanc.log` in the folder.

    Args:
        folder: which it keeps everything in.
        login: `name:password` that it asks for, or None.

    Yields:
        The `url` of its DICOMweb service, its `log`, and `rest`, which asks its own interface.
    """
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.exists():
        pytest.skip("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb (.ci/run does)")
    port, log = free_port(), folder / "orthanc.log"
    name, _, password = (login or "").partition(":")
    settings = {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": login is not None,
        "RegisteredUsers": {name: password} if login else {},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with log.open("w") as file:
        server = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=file, stderr=file, cwd=folder)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, f"http://127.0.0.1:{port}/", name, password)
    directly = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPBasicAuthHandler(passwords)
    )

    def rest(path: str):
        with directly.open(f"http://127.0.0.1:{port}/{path}", timeout=60) as answer:
            return json.load(answer)

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            return bool(rest("system"))
        return False

    try:
        wait_for(answers)
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}/dicom-web", log=log, rest=rest)
    finally:
        server.terminate()
        server.wait(timeout=120)
