import io
import struct
import time
import zipfile

import pytest

from models.bounds import UNPACKED_BYTES, ZIP_DIRECTORY_BYTES, ZIP_INFLATION_FROM
from models.zip_archive import open_archive


def archive(members, **chosen):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **chosen) as made:
        for name, content in members:
            made.writestr(name, content)
    return buffer.getvalue()


def refused(content, reason):
    started = time.thread_time()  # other threads do not count
    with pytest.raises(ValueError, match=reason):
        open_archive(io.BytesIO(content), len(content))
    assert time.thread_time() - started < 5


def declare(content, size):
    """Declare another unpacked size in the table of contents."""
    at = content.index(b"PK\x01\x02")
    return content[: at + 24] + struct.pack("<I", size) + content[at + 28 :]


def test_an_archive_is_opened():
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = archive([("a", b"1" * 1000), ("b", b"2")], compression=method)
        with open_archive(io.BytesIO(content), len(content)) as opened:
            assert opened.read("a") == b"1" * 1000


def test_a_table_of_contents_of_many_members_is_not_read():
    members = 2 * ZIP_DIRECTORY_BYTES // 70
    refused(archive((f"member number {number:030}", b"") for number in range(members)), "table of contents has")


def test_a_table_of_contents_is_measured_in_the_large_layout_too():
    content = archive((str(number), b"") for number in range(70_000))  # more than the small layout can count
    assert b"PK\x06\x06" in content
    refused(content, "table of contents has")


def test_members_that_share_their_bytes_are_refused():
    content = archive([("a", b"1" * 1000), ("b", b"2" * 1000)])
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    refused(content[: second + 42] + struct.pack("<I", 0) + content[second + 46 :], "overlap")


def test_members_that_overlap_by_one_byte_are_refused():
    """The first begins at 0 and takes 30 bytes of header and 1,000 of content at least."""
    content = archive([("a", b"1" * 1000), ("b", b"2" * 1000)])
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    assert struct.unpack("<I", content[second + 42 : second + 46]) == (1031,)
    refused(content[: second + 42] + struct.pack("<I", 1029) + content[second + 46 :], "overlap")


def test_what_unpacks_to_too_much_is_refused():
    content = archive([("a", b"")], compression=zipfile.ZIP_DEFLATED)
    times = (ZIP_INFLATION_FROM + 1) // len(content)
    refused(declare(content, ZIP_INFLATION_FROM + 1), f"unpacks to {times} times its size, more than 100 times")
    many = archive([("a", b""), ("b", b"")])
    second = many.index(b"PK\x01\x02", many.index(b"PK\x01\x02") + 1)
    large = declare(many[:second], UNPACKED_BYTES - 1) + declare(many[second:], 2)
    refused(large, "unpacks to 4.0 GiB, more than 4 GiB")


def test_a_large_archive_may_unpack_to_a_hundred_times_its_size():
    content = declare(archive([("a", bytes(2**22))]), 100 * 2**22)
    with open_archive(io.BytesIO(content), len(content)) as opened:
        assert opened.getinfo("a").file_size == 100 * 2**22 > ZIP_INFLATION_FROM


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_neither_numpy_nor_pytorch_writes_is_refused(method):
    refused(archive([("a", b"1")], compression=method), "neither stored nor deflated")
