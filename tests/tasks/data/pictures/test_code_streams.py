import io

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame

from tasks.data.pictures.code_streams import CodeStream, read_code_stream_header
from tasks.data.pictures.unreadable import UnreadableImageError


@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "comment": b"\xff\xc0 of a frame in a comment", "dpi": (7, 7)}),
        ("JPEG2000", {"no_jp2": True}),
        ("JPEG2000", {}),
        ("JPEG2000", {"tile_size": (16, 16), "tile_offset": (0, 0)}),
    ],
)
def test_the_size_of_what_pillow_writes(kind, options, mode, components):
    buffer = io.BytesIO()
    Image.new(mode, (37, 21)).save(buffer, kind, **options)
    assert read_code_stream_header(buffer.getvalue()) == CodeStream(21, 37, components, 8)


@pytest.mark.parametrize(
    "name",
    ["JPGExtended.dcm", "JPEGLSNearLossless_16.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm"],
)
def test_the_size_in_files_of_archives(name):
    stored = dcmread(get_testdata_file(name))
    stream = read_code_stream_header(get_frame(stored.PixelData, 0, number_of_frames=1))
    assert stream == CodeStream(stored.Rows, stored.Columns, stored.SamplesPerPixel, stored.BitsStored)


def test_too_much_is_refused():
    jpeg = io.BytesIO()
    Image.new("L", (30, 20)).save(jpeg, "JPEG")
    content = bytearray(jpeg.getvalue())
    frame = content.find(b"\xff\xc0")
    content[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(UnreadableImageError, match="65535 × 65535 pixels"):
        read_code_stream_header(bytes(content))
    content[frame + 5 : frame + 10] = b"\0\x14\0\x1e\xff"
    with pytest.raises(UnreadableImageError, match="255 components"):
        read_code_stream_header(bytes(content))


def test_what_is_none_or_cut_off_has_no_size():
    buffer = io.BytesIO()
    Image.new("L", (30, 20)).save(buffer, "JPEG2000", no_jp2=True)
    for content in (
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 50,
        b"a text",
        buffer.getvalue()[:40],
    ):
        assert read_code_stream_header(content) is None


def test_damaged_headers_are_read_or_refused():
    generator = np.random.default_rng(0)
    for kind in ("JPEG", "JPEG2000"):
        buffer = io.BytesIO()
        Image.new("L", (30, 20)).save(buffer, kind)
        whole = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
        for _ in range(2000):
            damaged = whole[: int(generator.integers(2, len(whole)))].copy()
            damaged[generator.integers(2, len(damaged) + 1, 4) - 1] = generator.integers(0, 256, 4)
            try:
                stream = read_code_stream_header(damaged.tobytes())
            except UnreadableImageError:
                continue
            assert stream is None or stream.height * stream.width <= 64 * 10**6
