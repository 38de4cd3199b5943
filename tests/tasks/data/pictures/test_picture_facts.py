"""What a file tells beyond grey levels, against naive counts, from a path and from memory."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from models.errors import InputError
from tasks.data.pictures import image_file
from tasks.data.pictures.dicom_terms import CHEST_PARTS, MODALITIES, OTHER_PARTS
from tasks.data.pictures.image_file import read_image, read_picture_file
from tasks.data.pictures.picture_facts import COLOURED, WHITE, PictureFacts, coloured_share, measure
from tests.tasks.data.pictures.dicom_files import IMAGE, dicom


def encoded(picture, kind="PNG", **options):
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    return file.getvalue()


def facts(content):
    return read_picture_file(content).facts


@pytest.mark.parametrize("seed", range(3))
def test_measures_are_those_of_a_naive_count(seed):
    random = np.random.default_rng(seed)
    levels = np.clip(random.normal(200, 60, (37, 53)), 0, 255).astype(np.uint8)
    values = levels.ravel().tolist()
    common = sorted((values.count(level) for level in set(values)), reverse=True)
    found = measure(levels)
    assert (found.height, found.width) == (37, 53)
    assert found.flat == pytest.approx(sum(common[:8]) / len(values))
    assert found.white == pytest.approx(sum(value >= WHITE for value in values) / len(values))
    ordered = sorted(values)
    assert found.contrast == pytest.approx(ordered[len(values) * 99 // 100] - ordered[len(values) // 100], abs=1)
    assert facts(encoded(levels)) == found


def test_an_even_picture_has_no_contrast():
    for level in (0, 77, 255):
        found = measure(np.full((9, 9), level, np.uint8))
        assert (found.contrast, found.flat, found.white) == (0, 1, level >= WHITE)


def test_colour_is_the_share_of_pixels_whose_channels_differ():
    colors = np.random.default_rng(0).integers(0, 80, (40, 30, 3)).astype(np.uint8)
    naive = np.mean([max(pixel) - min(pixel) >= COLOURED for row in colors.tolist() for pixel in row])
    assert coloured_share(colors) == pytest.approx(naive)
    assert facts(encoded(colors)).coloured == pytest.approx(naive)
    large = colors.repeat(20, axis=0).repeat(20, axis=1)
    assert coloured_share(large) == pytest.approx(naive, abs=0.1)
    assert facts(encoded(large)).coloured == pytest.approx(naive, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {"quality": 90}), ("WEBP", {"quality": 90}), ("TIFF", {}), ("GIF", {})]
)
def test_red_is_coloured_and_grey_is_not_in_every_format(kind, options):
    red = Image.new("RGB", (40, 40), (200, 30, 30))
    assert facts(encoded(red, kind, **options)).coloured == 1
    grey = Image.fromarray(IMAGE)
    for mode in ("L", "RGB"):
        assert facts(encoded(grey.convert(mode), kind, **options)).coloured == 0


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK", "1", "LA", "PA", "I;16"])
def test_every_mode_of_a_picture_has_facts(mode):
    if mode == "I;16":
        content = encoded(IMAGE.astype(np.uint16) * 257)
    elif mode == "PA":
        content = encoded(Image.new("RGB", (30, 20), (200, 30, 30)).convert("P"), transparency=3)
    else:
        kind = "TIFF" if mode == "CMYK" else "PNG"
        content = encoded(Image.new("RGB", (30, 20), (200, 30, 30)).convert(mode), kind)
    found = facts(content)
    assert (found.height, found.width) == (20, 30)
    assert found.coloured == (mode in ("P", "RGBA", "CMYK", "PA"))


def test_the_size_is_that_of_the_picture_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture_file(encoded(IMAGE, "JPEG", exif=exif))
    assert picture.levels.shape == (picture.facts.height, picture.facts.width) == (30, 20)


def test_a_dicom_file_tells_modality_body_part_and_frames(tmp_path):
    def read(**elements):
        dicom(IMAGE, **elements).save_as(tmp_path / "a.dcm", enforce_file_format=True)
        return read_picture_file(tmp_path / "a.dcm").facts

    found = read(Modality="DX", BodyPartExamined="CHEST")
    assert (found.dicom, found.frames, found.modality, found.body_part) == (True, 1, "DX", "CHEST")
    assert found == measure(IMAGE, dicom=True, modality="DX", body_part="CHEST")
    assert read().modality == read(Modality="").modality == ""
    assert read(BodyPartExamined=" hand ").body_part == "HAND"
    ultrasound = read_picture_file(get_testdata_file("examples_rgb_color.dcm")).facts
    assert (ultrasound.modality, ultrasound.dicom) == ("US", True)
    many = read_picture_file(get_testdata_file("rtdose.dcm")).facts
    assert (many.modality, many.frames) == ("RTDOSE", 15)


def test_colour_of_a_dicom_file(tmp_path):
    colors = np.zeros((8, 8, 3), np.uint8)
    colors[:2, :, 0] = 200
    dicom(colors, "RGB").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_picture_file(tmp_path / "a.dcm").facts.coloured == 0.25


@pytest.mark.parametrize("value", ["CANARY^NAME", "Canary", "CHEST CANARY", ["CT", "CANARY"], "CT\\CANARY"])
def test_what_stands_for_a_term_and_is_none_is_not_passed_on(value, tmp_path):
    dataset = dicom(IMAGE, PatientName="CANARY^NAME", PatientID="CANARY", StudyDescription="CANARY")
    dataset.Modality = dataset.BodyPartExamined = value
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_picture_file(tmp_path / "a.dcm").facts
    assert "CANARY" not in repr(found).upper()
    assert (found.modality, found.body_part) == ("other", "other")


def test_terms_are_coded_strings_of_dicom():
    assert not CHEST_PARTS & OTHER_PARTS
    for term in (*MODALITIES, *CHEST_PARTS, *OTHER_PARTS):
        assert term.isalnum()
        assert term.isupper()
        assert len(term) <= 16


def test_bytes_are_read_as_their_file_is(tmp_path):
    for name, content in (
        ("a.png", encoded(IMAGE)),
        ("b.dcm", Path(get_testdata_file("CT_small.dcm")).read_bytes()),
        ("c.jp2", encoded(IMAGE, "JPEG2000")),
    ):
        (tmp_path / name).write_bytes(content)
        ours, theirs = read_picture_file(content), read_picture_file(tmp_path / name)
        assert np.array_equal(ours.levels, theirs.levels)
        assert np.array_equal(ours.levels, read_image(tmp_path / name))
        assert ours.facts == theirs.facts
        assert isinstance(ours.facts, PictureFacts)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is an empty file"),
        (b"%PDF-1.7\n", "is no image"),
        (encoded(IMAGE)[:-60], "cannot be read"),
    ],
)
def test_bytes_that_are_no_picture_are_refused_by_their_name(content, said):
    with pytest.raises(InputError, match=said) as caught:
        read_picture_file(content, name="upload\n7.png")
    assert str(caught.value).startswith("upload 7.png ")
    with pytest.raises(InputError, match=r"^the picture "):
        read_picture_file(content)


def test_bytes_beyond_the_largest_file_are_refused(monkeypatch):
    monkeypatch.setattr(image_file, "MAXIMUM_FILE_BYTES", 100)
    with pytest.raises(InputError, match="is a file of more than"):
        read_picture_file(bytes(101))


def test_a_name_stands_for_a_path_that_must_not_be_told(tmp_path):
    with pytest.raises(InputError) as caught:
        read_picture_file(tmp_path / "secret" / "a.png", name="a.png")
    assert "secret" not in str(caught.value)


def test_bytes_touch_no_disk_and_leave_no_descriptor_open(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    read_picture_file(encoded(IMAGE))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_picture_file(encoded(IMAGE))
        with pytest.raises(InputError):
            read_picture_file(b"nothing")
    assert len(os.listdir("/proc/self/fd")) == before
    assert not list(tmp_path.iterdir())
