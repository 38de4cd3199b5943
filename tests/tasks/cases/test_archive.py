"""Archives that answer as none should; a real one is in tests/e2e/test_archive.py."""

import base64
import contextlib
import gzip
import http.server
import json
import logging
import shutil
import ssl
import subprocess
import threading
from types import SimpleNamespace

import pytest

from models.errors import InputError
from tasks.cases import archive
from tasks.cases.archive import is_archive_address, list_instances, retrieve, store
from tests.tasks.cases.dicom.sources import xray

SECRET = "radiology:ünlikely: to be guessed"
JSON = {"Content-Type": "application/dicom+json"}
MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=cut'}
PICTURE = "studies/1.2/series/1.3/instances/1.4"


@contextlib.contextmanager
def server(answer, context=None):
    """An HTTP server of which `answer` takes a request and returns status, headers and content."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _handle(self):
            length = int(self.headers.get("Content-Length") or 0)
            request = SimpleNamespace(path=self.path, headers=dict(self.headers), content=self.rfile.read(length))
            seen.append(request)
            status, headers, content = answer(request)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        do_GET = do_POST = _handle  # noqa: N815

        def log_message(self, *_):
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        found.socket = context.wrap_socket(found.socket, server_side=True)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    scheme = "http" if context is None else "https"
    try:
        yield SimpleNamespace(url=f"{scheme}://127.0.0.1:{found.server_port}/dicom-web", seen=seen)
    finally:
        found.shutdown()
        found.server_close()
        thread.join()


def instance(uid, sop_class="1.2.840.10008.5.1.4.1.1.1.1", **told):
    """An instance as a search tells it; `modality` and `body_part` where the archive does."""
    elements = {"0020000D": "1.2", "0020000E": "1.3", "00080018": uid, "00080016": sop_class}
    names = {"modality": "00080060", "body_part": "00180015"}
    elements |= {names[name]: value for name, value in told.items()}
    patient = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "CANARY^ZEBRA"}]}}
    return patient | {tag: {"vr": "UI", "Value": [value]} for tag, value in elements.items()}


def fixed(content, headers=JSON, status=200):
    """A server's answer that is always the same."""
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda request: (status, headers, content)


def multipart(*parts):
    body = b"".join(b"\r\n--cut\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts)
    return fixed(body + b"\r\n--cut--", MULTIPART)


def refusal(call, *values, **named):
    with pytest.raises(InputError) as caught:
        call(*values, **named)
    message = str(caught.value)
    assert "CANARY" not in message
    assert SECRET.partition(":")[2] not in message
    assert message.endswith(".")
    assert caught.value.__cause__ is None
    return message


def test_what_was_not_asked_for_is_left_out_whatever_the_archive_goes_by():
    answer = [
        instance("1.4.1"),
        instance("1.4.2", modality="CR"),
        instance("1.4.3", modality="DX", body_part="HAND"),
        instance("1.4.4", modality="DX", body_part="Chest"),
        instance("1.4.5", "1.2.840.10008.5.1.4.1.1.1.1.1"),  # for processing
        instance("1.4.6", "1.2.840.10008.5.1.4.1.1.88.33"),  # a report
        instance("1.4.7", "1.2.3.4"),
        instance("../../etc"),
        {"00080018": "rubbish"},
    ]
    with server(fixed(answer)) as found:  # the same page whatever the offset: it ends all the same
        addresses = list_instances(found.url, modalities=["DX"], body_part="CHEST")
    assert [address.rpartition("/")[2] for address in addresses] == ["1.4.1", "1.4.4"]
    assert all(is_archive_address(address) for address in addresses)
    assert not is_archive_address("s3://bucket/scan.dcm")
    assert "BodyPartExamined=CHEST" in found.seen[0].path


@pytest.mark.parametrize(
    "answer", [b"<html>CANARY</html>", b"", b"7", b'["CANARY"]', b'{"CANARY": 1', b'[{"00080018": 7}]', b"\xff\xfe"]
)
def test_a_search_that_is_answered_by_anything_else_is_a_sentence_or_finds_nothing(answer):
    with server(fixed(answer)) as found:
        try:
            assert list_instances(found.url) == []
        except InputError as error:
            assert "does not answer as DICOMweb does when searched" in str(error)
            assert "CANARY" not in str(error)


def test_a_page_after_the_other_up_to_the_bound(monkeypatch):
    def page(request):
        offset = int(request.path.partition("offset=")[2].partition("&")[0] or 0)
        return fixed([instance(f"1.4.{number}") for number in range(offset, min(offset + 3, 7))])(request)

    with server(page) as found:
        assert len(list_instances(found.url, modalities=["DX"])) == 7
        monkeypatch.setattr(archive, "MAXIMUM_INSTANCES", 6)
        assert "more than 6 such X-rays" in refusal(list_instances, found.url)


def test_a_picture_comes_in_one_part_or_bare():
    content = xray()
    with server(multipart(content)) as found:
        assert retrieve(f"dicomweb+{found.url}/{PICTURE}") == content
        assert found.seen[0].path == f"/dicom-web/{PICTURE}"
        assert "transfer-syntax=*" in found.seen[0].headers["Accept"]
    with server(fixed(content, {"Content-Type": "application/dicom"})) as found:
        assert retrieve(f"dicomweb+{found.url}/{PICTURE}") == content
    for answer in (multipart(content, content), multipart(), fixed(content, {"Content-Type": "text/html"})):
        with server(answer) as found:
            message = refusal(retrieve, f"dicomweb+{found.url}/{PICTURE}")
            assert "does not answer as DICOMweb does when asked for a picture" in message


def test_an_answer_that_is_too_large_is_refused_also_where_it_is_compressed(monkeypatch):
    monkeypatch.setattr(archive, "MAXIMUM_PICTURE_BYTES", 1 << 20)
    bomb = gzip.compress(bytes(1 << 24))
    for answer in (multipart(bytes(1 << 21)), fixed(bomb, MULTIPART | {"Content-Encoding": "gzip"})):
        with server(answer) as found:
            assert "sent more than 1 MB" in refusal(retrieve, f"dicomweb+{found.url}/{PICTURE}")


def test_an_answer_that_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(archive, "MAXIMUM_SECONDS", -1)
    with server(multipart(xray())) as found:
        assert "did not answer in time" in refusal(retrieve, f"dicomweb+{found.url}/{PICTURE}")
        assert len(found.seen) == 1


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "name a Secret block"), (403, "name a Secret block"), (404, "it is not there"), (500, "try again later")],
)
def test_a_status_is_told_with_advice(status, advice):
    with server(fixed(b"CANARY", {"Warning": '299 - "CANARY"', "WWW-Authenticate": "CANARY"}, status)) as found:
        assert f"status {status} when searched: {advice}" in refusal(list_instances, found.url)


def test_a_busy_archive_is_asked_again():
    answers = [fixed(b"", status=503), fixed([instance("1.4.1")])]
    with server(lambda request: answers.pop(0)(request) if answers else fixed([])(request)) as found:
        assert len(list_instances(found.url, modalities=["DX"])) == 1
    with server(fixed(b"", {"Retry-After": "3600"}, 503)) as found:
        assert "status 503 when searched: try again later" in refusal(list_instances, found.url)
        assert len(found.seen) == 3


def test_a_login_is_sent_to_the_archive_and_nowhere_else():
    with server(fixed([])) as other, server(fixed(b"", {"Location": other.url}, 302)) as found:
        assert "sends its callers elsewhere" in refusal(list_instances, found.url, login=SECRET)
        sent = found.seen[0].headers["Authorization"].removeprefix("Basic ")
        assert base64.b64decode(sent).decode() == SECRET
        assert not other.seen
    with server(fixed([])) as found:
        for token in ("a-token", "Bearer a-token"):
            list_instances(found.url, login=token)
            assert found.seen[-1].headers["Authorization"] == "Bearer a-token"
        list_instances(found.url)
        assert "Authorization" not in found.seen[-1].headers
        assert found.seen[-1].headers["Host"] == found.url.split("/")[2]


def test_what_an_archive_does_not_take_is_told():
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
    for status in (200, 202):
        with server(fixed(failed, status=status)) as found:
            assert "did not take a result (reason A700 hexadecimal)" in refusal(store, found.url, [xray()])
    with server(fixed(failed, status=409)) as found:
        assert "status 409 when sent a result" in refusal(store, found.url, [xray()])
    with server(fixed({})) as found:
        store(found.url, [xray(), xray()])
        assert len(found.seen) == 2
        assert xray()[200:] in found.seen[0].content
        assert found.seen[0].headers["Accept"] == "application/dicom+json"  # else what was not taken is not understood
        assert "CANARY" not in found.seen[0].path
        undeclared = xray(raw={"PatientName": ("PN", b"M\xfcller\xd0\x98 ")})
        store(found.url, [undeclared])
        assert undeclared[200:] in found.seen[-1].content  # byte by byte


def test_this_machine_is_asked_past_any_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with server(fixed([])) as found:
        assert list_instances(found.url) == []
        assert list_instances(found.url.replace("127.0.0.1", "localhost")) == []
    assert "cannot be reached" in refusal(list_instances, "http://archive.invalid/dicom-web")  # asks the proxy


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes a certificate, is not installed")
def test_an_archive_proves_who_it_is(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=archive", "-days", "1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with server(fixed([instance("1.4.1")]), context) as found:
        assert "does not prove who it is (TLS)" in refusal(list_instances, found.url, login=SECRET)
        assert not found.seen
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert len(list_instances(found.url, modalities=["DX"])) == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://host/dicom-web", "no address of a DICOMweb service"),
        ("file:///etc/passwd", "no address of a DICOMweb service"),
        ("host/dicom-web", "no address of a DICOMweb service"),
        ("http://", "no address of a DICOMweb service"),
        ("http://host:port/", "no address of a DICOMweb service"),
        ("http://[::1/", "no address of a DICOMweb service"),
        ("http://host/dicom-web?a=b", "no address of a DICOMweb service"),
        ("http://host/\r\nX: y", "no address of a DICOMweb service"),
        (f"https://{SECRET.replace(' ', '')}@host/dicom-web", "holds a login"),
        (f"ftp://{SECRET}@host/dicom-web", "no address of a DICOMweb service"),
    ],
)
def test_an_address_that_is_none_is_refused(url, told):
    for call in (lambda: list_instances(url), lambda: store(url, []), lambda: retrieve(f"dicomweb+{url}/{PICTURE}")):
        message = refusal(call)
        assert told in message
        assert "guessed" not in message


@pytest.mark.parametrize(
    "address",
    [
        "http://host/dicom-web/studies/1.2/series/1.3/instances/1.4",
        "dicomweb+http://host/dicom-web/studies/1.2/series/1.3",
        "dicomweb+http://host/dicom-web/studies/1.2/series/1.3/instances/..",
        "dicomweb+http://host/dicom-web/studies/1.2/series/1.3/instances/1.4?x=y",
        "dicomweb+",
    ],
)
def test_an_address_of_no_picture_is_refused(address):
    assert "no address of a picture in an archive" in refusal(retrieve, address)


def test_a_query_that_is_none_is_refused():
    assert "is no study UID" in refusal(list_instances, "http://127.0.0.1:9", study="../x")
    assert "is no body part" in refusal(list_instances, "http://127.0.0.1:9", body_part="chest&limit=1")
    assert "cannot be reached" in refusal(list_instances, "http://127.0.0.1:9")


def test_nothing_of_the_patient_or_the_login_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    headers = JSON | {"Warning": '299 - "CANARY^ZEBRA"'}
    with server(fixed([instance("1.4")], headers)) as found:
        list_instances(found.url, login=SECRET)
    with server(multipart(xray())) as found:
        retrieve(f"dicomweb+{found.url}/{PICTURE}", login=SECRET)
    with server(fixed({})) as found:
        store(found.url, [xray()], login=SECRET)
    assert "CANARY" not in caplog.text
    assert "guessed" not in caplog.text
    assert base64.b64encode(SECRET.encode()).decode() not in caplog.text
