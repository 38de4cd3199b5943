import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from models.errors import InputError
from tasks.data.pictures.image_file import read_image
from tests.tasks.data.pictures.dicom_files import IMAGE
from tests.tasks.data.pictures.picture_files import png, tiff

WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i1", "i2", "u4", "i4"])
def test_tiff_of_every_kind_is_shown_as_it_says(dtype, compression, photometric, order, tmp_path):
    kind = dtype[0]
    whole = IMAGE.astype(int)
    values = {
        "u": whole * (1 if dtype == "u1" else 257),
        "i": whole * (1 if dtype == "i1" else 97) - 100,
        "f": whole / 300,
    }[kind].astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric=photometric, compression=compression, byteorder=order)
    if kind == "u":
        levels = np.rint(values * (255 / (255 if dtype == "u1" else 65535)))
    else:
        levels = np.rint((values - float(values.min())) / (float(values.max()) - float(values.min())) * 255)
    expected = 255 - levels if photometric == "miniswhite" else levels
    try:
        shown = read_image(path)
    except InputError as error:
        assert "a TIFF file, damaged or of a kind that is not read" in str(error)  # and not shown wrong
        assert (kind == "i" and photometric == "miniswhite") or dtype == "u4"
    else:
        assert np.abs(shown - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_few_bits_in_tiff(bits, photometric, tmp_path):
    values = IMAGE[:, :24] >> (8 - bits)
    planes = values.reshape(20, -1, 8 // bits)
    packed = sum(planes[..., place] << (8 - bits * (place + 1)) for place in range(8 // bits)).astype(np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(packed.tobytes(), 24, 20, t258=bits, t262=photometric))
    levels = np.rint(values * (255 / (2**bits - 1)))
    assert np.array_equal(read_image(tmp_path / "a.tif"), levels if photometric else 255 - levels)


def test_resolutions_are_not_followed(tmp_path):
    for name, options in (("a.png", {"dpi": (100, 200)}), ("a.tif", {"dpi": (100, 200)}), ("a.jpg", {"dpi": (1, 2)})):
        Image.fromarray(IMAGE).save(tmp_path / name, **options)
        assert read_image(tmp_path / name).shape == IMAGE.shape


def jpeg_2000(wrapped, **size):
    """A code stream whose header asks for another size, in a JP2 file or bare."""
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "JPEG2000", no_jp2=not wrapped)
    content = bytearray(buffer.getvalue())
    start = content.find(b"\xff\x4f\xff\x51")
    struct.pack_into(">II", content, start + 8, size["side"], size["side"])
    struct.pack_into(">II", content, start + 24, size["tile"], size["tile"])
    return bytes(content)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(
    ("side", "tile", "said"),
    [
        (10_000, 10_000, "it has 10000 × 10000 pixels, and at most 64 million"),
        (8000, 8, "it is cut in 1000000 tiles"),
        (8000, 0, "cannot be read"),
    ],
)
def test_a_jpeg_2000_that_asks_for_much(side, tile, said, wrapped, tmp_path):
    (tmp_path / "a.jp2").write_bytes(jpeg_2000(wrapped, side=side, tile=tile))
    with pytest.raises(InputError, match=said):
        read_image(tmp_path / "a.jp2")


def test_a_picture_of_64_million_pixels_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(png(8000))
    assert read_image(tmp_path / "a.png").shape == (8000, 8000)


def test_directories_that_follow_each_other_for_ever(tmp_path):
    content = tiff(IMAGE.tobytes(), 30, 20)
    start = struct.unpack("<I", content[4:8])[0]
    (tmp_path / "a.tif").write_bytes(content[:-4] + struct.pack("<I", start))
    assert np.array_equal(read_image(tmp_path / "a.tif"), IMAGE)


def test_a_name_with_control_characters_is_shown_harmless(tmp_path):
    path = tmp_path / "\x1b[2J\nerror: second line.png"
    path.write_bytes(b"a text")
    with pytest.raises(InputError, match="is no image") as caught:
        read_image(path)
    assert str(caught.value).isprintable()


def test_colours_are_read_where_they_are_wanted_and_grey_ones_are_equal(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png", colour=True), colours)
    grey = read_image(tmp_path / "colour.png")
    np.testing.assert_array_equal(grey, np.asarray(Image.fromarray(colours).convert("L")))
    Image.fromarray(IMAGE).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", colour=True), np.dstack([IMAGE] * 3))
    deep = IMAGE.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif", colour=True), np.dstack([IMAGE] * 3))
    clear = np.dstack([colours, np.zeros((20, 30), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", colour=True).max() == 0  # transparent places become black


def test_a_dicom_file_where_colours_are_wanted_is_one_sentence():
    with pytest.raises(InputError, match=r"ct\.dcm is a DICOM file, which is read in grey, but the images of this"):
        read_image(get_testdata_file("CT_small.dcm"), name="ct.dcm", colour=True)
