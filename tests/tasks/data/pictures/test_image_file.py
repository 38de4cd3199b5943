import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from tasks.data.pictures.image_file import read_image
from tasks.shared.model_size import to_model_size
from tests.tasks.data.pictures.dicom_files import refusal

GRADIENT = np.add.outer(np.arange(20) * 5, np.arange(30) * 4).astype(np.uint8)  # height 20, width 30


def test_a_dataset_image_survives_the_way_through_png(real_splits, tmp_path):
    for index in (0, 100, 623):
        image = real_splits.test_images[index]
        Image.fromarray(image).save(tmp_path / "exported.png")
        assert np.array_equal(to_model_size(read_image(tmp_path / "exported.png"), 28), image)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.gif"])
def test_lossless_formats(name, tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name), GRADIENT)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.jp2"])
def test_lossy_formats(name, tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / name, quality=95)
    assert np.abs(read_image(tmp_path / name).astype(int) - GRADIENT).mean() < 3


def test_the_content_counts_and_not_the_name(tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / "x", "png")
    (tmp_path / "x").rename(tmp_path / "x.dcm")
    assert np.array_equal(read_image(tmp_path / "x.dcm"), GRADIENT)


@pytest.mark.parametrize(("factor", "white"), [(257, 255 * 257), (16, 4095)])
def test_sixteen_bits(factor, white, tmp_path):
    deep = GRADIENT.astype(np.uint16) * factor
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png"), np.rint(deep * (255 / white)))


def test_colour_palette_and_bits_become_grey(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2), (200, 100, 50)).save(path)
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert np.unique(read_image(path)) == luma
    Image.new("RGB", (3, 2), (200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE).save(path)
    assert np.unique(read_image(path)) == luma
    Image.fromarray(GRADIENT > 50).save(path)
    assert np.array_equal(read_image(path), np.where(GRADIENT > 50, 255, 0))


def test_cmyk(tmp_path):
    Image.new("CMYK", (16, 16), (0, 0, 0, 55)).save(tmp_path / "a.jpg")  # 55 of 255 black ink on white
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - 200).max() <= 2


def test_transparent_places_are_black(tmp_path):
    colors = np.full((2, 2, 4), 255, dtype=np.uint8)
    colors[0, 0, 3] = 0
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[0, 255], [255, 255]]


def test_the_orientation_of_a_photograph_is_followed(tmp_path):
    picture = Image.fromarray(GRADIENT)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    picture.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(GRADIENT, -1))


def test_of_an_animation_the_first_frame_counts(tmp_path):
    first, second = Image.fromarray(GRADIENT), Image.fromarray(255 - GRADIENT)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert np.array_equal(read_image(tmp_path / "a.gif"), GRADIENT)


def test_paths_that_lead_to_no_file(tmp_path):
    assert "There is no file" in refusal(tmp_path / "absent.png")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "is an empty file" in refusal(tmp_path / "empty.png")
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(tmp_path / "pipe")
    with pytest.raises(InputError, match="cannot be opened") as caught:
        read_image(tmp_path / ("x" * 300))
    assert len(str(caught.value)) <= 300
    with pytest.raises(InputError, match=r"nul\\x00l cannot be opened"):
        read_image(tmp_path / "nul\0l")


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(GRADIENT).save(tmp_path / "a.png")
    assert read_image("~/a.png").shape == GRADIENT.shape


@pytest.mark.parametrize("content", [b"a text", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_no_image(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    assert "is no image" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_file_cut_anywhere_is_refused_in_one_sentence(name, tmp_path, recwarn):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in range(1, len(whole) * 9 // 10, 97):
        (tmp_path / name).write_bytes(whole[:length])
        message = refusal(tmp_path / name)
        assert "cannot be read" in message or "is no image" in message


def test_damaged_bytes_give_an_image_or_one_sentence(tmp_path, recwarn):
    generator = np.random.default_rng(0)
    for name in ("a.png", "a.jpg", "a.tif", "a.gif"):
        Image.fromarray(GRADIENT).save(tmp_path / name)
        whole = np.frombuffer((tmp_path / name).read_bytes(), dtype=np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            damaged[generator.integers(len(whole), size=5)] = generator.integers(0, 256, 5)
            (tmp_path / name).write_bytes(damaged.tobytes())
            try:
                assert read_image(tmp_path / name).dtype == np.uint8
            except InputError as error:
                assert name in str(error)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    # The reader's own limit, then Pillow's.
    for side, said in ((9000, "at most 64 million"), (60000, "decompression bomb")):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
        assert said in refusal(tmp_path / "bomb.png")


def test_nan_is_refused(tmp_path):
    values = np.zeros((4, 4), dtype=np.float32)
    values[1, 2] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert "holds NaN" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("size", [1, 28, 64])
def test_an_image_of_the_right_size_comes_back_as_it_is(size):
    image = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    assert np.array_equal(to_model_size(image, size), image)


@pytest.mark.parametrize(("height", "width"), [(60, 100), (100, 60), (61, 100), (100, 61)])
def test_the_middle_square_is_kept(height, width):
    image = np.zeros((height, width), dtype=np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image[top : top + side, left : left + side] = 255
    assert to_model_size(image, 28).min() == 255
    assert to_model_size(255 - image, 28).max() == 0


def test_shrinking_averages():
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (280, 140))
    inner = to_model_size(stripes, 28)[2:-2, 2:-2].astype(int)
    assert np.abs(inner - 127.5).max() < 6  # taking every tenth pixel would give all black or all white


def test_small_images_grow():
    grown = to_model_size(np.array([[0, 0], [255, 255]], dtype=np.uint8), 28)
    assert grown.shape == (28, 28)
    assert (np.diff(grown[:, 14].astype(int)) >= 0).all()
