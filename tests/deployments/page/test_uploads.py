import asyncio
import hashlib
import re

import pytest

from deployments.page.refusal import RefusalError
from deployments.page.uploads import Limits, Uploads, safe_name
from tests.deployments.page.pictures import LEVELS, png

LIMITS = Limits(file_bytes=10_000, files=2, batch_bytes=5_000, kept_bytes=20_000, at_once=1)


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path / "uploads", LIMITS)


async def _pieces(content, size=1000):
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _keep(uploads, content, name="scan.png"):
    return asyncio.run(uploads.keep(_pieces(content), name))


def _files(tmp_path):
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("scan.dcm", "scan.dcm"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\scan 1.PNG", "scan_1.PNG"),
        ("/", "picture"),
        ("", "picture"),
        ("..", "picture"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("Thoráx über.png", "Thorax_uber.png"),
        ("肺.png", "_.png"),
        ("a\x00b\n\x1b[31m<script>.png", "a_b_31m_script_.png"),
        ("*[?]{a,b}.png", "_a_b_.png"),
        ("x" * 500 + ".dicom", "x" * 74 + ".dicom"),
        ("x." + "y" * 500, "x." + "y" * 78),
    ],
)
def test_a_name_becomes_harmless(name, safe):
    assert safe_name(name) == safe
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", safe)


def test_a_picture_lies_under_the_digest_of_its_content(uploads, tmp_path):
    picture = _keep(uploads, png(), "../a scan.png")
    assert picture == f"{hashlib.sha256(png()).hexdigest()}/a_scan.png"
    (path,) = uploads.paths([picture, picture])
    assert path.is_absolute()
    assert path.read_bytes() == png()
    assert _keep(uploads, png(), "../a scan.png") == picture
    assert _files(tmp_path) == [f"uploads/{picture}"]


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"%PDF-1.4 and more", 415, r"scan\.png is no image"),
        (png()[:-200], 415, r"scan\.png"),
        (b"", 415, r"scan\.png is an empty file"),
        (b"\0" * 10_001, 413, "larger than 0 MB"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence_and_not_kept(uploads, tmp_path, content, status, sentence):
    with pytest.raises(RefusalError, match=sentence) as error:
        _keep(uploads, content)
    assert error.value.status == status
    assert str(tmp_path) not in str(error.value)
    assert not _files(tmp_path)
    _keep(uploads, png())  # and the next one is taken


@pytest.mark.parametrize(("declared", "status"), [("10001", 413), ("-1", 400), ("x", 400), ("٣", 400)])
def test_a_file_is_refused_by_what_it_declares(uploads, declared, status):
    with pytest.raises(RefusalError) as error:
        uploads.admit(declared)
    assert error.value.status == status
    uploads.admit("10000")
    uploads.admit(None)


def test_only_so_many_are_received_at_once(uploads):
    async def two():
        async def slow():
            with pytest.raises(RefusalError, match="1 files are being received already") as error:
                uploads.admit("10")
            assert error.value.status == 503
            yield png()

        await uploads.keep(slow(), "a.png")
        uploads.admit("10")

    asyncio.run(two())


def test_a_file_that_breaks_off_leaves_nothing(uploads, tmp_path):
    async def broken():
        yield png()[:100]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(uploads.keep(broken(), "a.png"))
    assert not _files(tmp_path)
    uploads.admit("10")


def test_no_more_is_kept_than_there_is_room_for(uploads, tmp_path):
    kept = [_keep(uploads, png(LEVELS + level)) for level in range(9)]
    with pytest.raises(RefusalError, match="remove those that are no longer needed") as error:
        uploads.admit("3000")
    assert error.value.status == 507
    with pytest.raises(RefusalError, match="remove those"):
        Uploads(tmp_path / "uploads", LIMITS).admit("3000")
    (tmp_path / "uploads" / kept[0]).unlink()
    uploads.admit("3000")


def test_nothing_but_what_was_kept_is_looked_at(uploads, tmp_path):
    (tmp_path / "secret.png").write_bytes(png())
    nobody = "0" * 64
    (tmp_path / "uploads" / nobody).mkdir(parents=True)
    for picture in (
        "../uploads/x",
        f"{nobody}/scan.png",
        f"{nobody}/../../secret.png",
        "../secret.png",
        str(tmp_path / "secret.png"),
        nobody,
        "s3://bucket/x.png",
        f"{nobody}/scan.png\n",
    ):
        with pytest.raises(RefusalError, match="not here any more") as error:
            uploads.paths([picture])
        assert error.value.status == 400


def test_a_batch_has_its_limits(uploads):
    pictures = [_keep(uploads, png(LEVELS + level)) for level in range(3)]
    for wrong in ([], pictures):
        with pytest.raises(RefusalError, match=r"^1 to 2 pictures"):
            uploads.paths(wrong)
    assert len(uploads.paths(pictures[:2])) == 2
    tight = Uploads(uploads._folder, Limits(batch_bytes=3000))
    with pytest.raises(RefusalError, match="Together") as error:
        tight.paths(pictures[:2])
    assert error.value.status == 413
