import io

import gdcm
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from models.errors import InputError
from tasks.data.pictures.image_file import read_image
from tests.tasks.data.pictures.dicom_files import IMAGE, dicom, read, refusal

DEEP = IMAGE.astype(np.uint16) * 16  # 12 bits
FULL_RANGE = np.rint(DEEP * (255 / 4095))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "case.dcm"


def compressed(stored, syntax, path):
    """Write a file with its pixels compressed by GDCM."""
    plain = path.with_suffix(".plain")
    stored.save_as(plain, enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


LOSSLESS = [
    gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    gdcm.TransferSyntax.JPEGLosslessProcess14,
    gdcm.TransferSyntax.JPEGLSLossless,
    gdcm.TransferSyntax.JPEG2000Lossless,
    gdcm.TransferSyntax.RLELossless,
]


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(
    ("values", "bits"),
    [
        (IMAGE, 8),
        (DEEP, 12),
        (DEEP * 16 + 5, 16),
        (IMAGE.astype(np.int16) * 100 - 9000, 16),
        (IMAGE.astype(np.int16) * 8 - 900, 12),
    ],
    ids=["8", "12", "16", "signed 16", "signed 12"],
)
def test_lossless_compression_gives_every_value(syntax, values, bits, path):
    stored = dicom(values, bits=bits)
    expected = read(stored, path)
    compressed(stored, syntax, path)
    assert np.array_equal(read_image(path), expected)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_damaged_code_streams_give_an_image_or_one_sentence(syntax, path):
    compressed(dicom(DEEP, bits=12), syntax, path)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    generator = np.random.default_rng(0)
    for trial in range(40):
        end = int(generator.integers(len(whole) - 200, len(whole))) if trial % 4 == 0 else len(whole)
        damaged = whole[:end].copy()
        damaged[generator.integers(len(damaged) - 400, len(damaged), size=4)] = generator.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path).ndim == 2
        except InputError as error:
            assert path.name in str(error)


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_twelve_bit_jpeg(name):
    shown = read_image(get_testdata_file(name))  # DCMTK decodes values from 0 to 264, 14.37 in the mean
    assert shown.shape == (1024, 256)
    assert shown.max() == round(264 * 255 / 1023)
    assert shown.mean() == pytest.approx(14.37 * 255 / 1023, abs=0.25)


def test_near_lossless_jpeg_ls(path):
    stored = dicom(DEEP, bits=12)
    compressed(stored, gdcm.TransferSyntax.JPEGLSNearLossless, path)
    assert np.abs(read_image(path) - FULL_RANGE).max() <= 1


def test_colour_in_jpeg_lossless(path):
    colors = np.stack([IMAGE, 255 - IMAGE, IMAGE // 2], axis=-1)
    stored = dicom(colors, "RGB")
    expected = read(stored, path)
    compressed(stored, gdcm.TransferSyntax.JPEGLosslessProcess14_1, path)
    assert np.array_equal(read_image(path), expected)


@pytest.mark.parametrize("syntax", [None, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_beyond_those_stored_do_not_count(signed, syntax, path):
    values = IMAGE.astype(np.int16) * 8 - 900 if signed else DEEP
    expected = read(dicom(values, bits=12), path)
    overlay = np.random.default_rng(0).integers(0, 16, values.shape, dtype=np.uint16)
    cells = values.view(np.uint16) & 0x0FFF
    for high, spare in ((11, overlay << 12), (15, overlay), (13, (overlay & 12) << 12 | overlay & 3)):
        filled = cells << (high - 11) | spare
        stored = dicom(filled, syntax=syntax or ExplicitVRLittleEndian)
        if syntax == RLELossless:
            stored.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            stored.compress(RLELossless, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            stored.PixelData = filled.astype(">u2").tobytes()
        stored.BitsStored, stored.HighBit, stored.PixelRepresentation = 12, high, int(signed)
        assert np.array_equal(read(stored, path), expected), high


def test_bits_of_six(path):
    values = (IMAGE >> 2) | 0xC0
    assert np.abs(read(dicom(values, bits=6), path) - (IMAGE >> 2) * (255 / 63)).max() < 0.51


@pytest.mark.parametrize("shape", [(20, 30), (7, 9)])
def test_packed_bits(shape, path):
    mask = IMAGE[: shape[0], : shape[1]] > 30
    packed = np.packbits(mask.ravel(), bitorder="little").tobytes()
    stored = dicom(IMAGE[: shape[0], : shape[1]], BitsAllocated=1, BitsStored=1, HighBit=0)
    stored.PixelData = packed + bytes(len(packed) % 2)
    assert np.array_equal(read(stored, path), mask * 255)


def test_a_number_of_frames_that_is_none_does_not_hide_the_first(path):
    stored = dicom(IMAGE)
    stored.add_new("NumberOfFrames", "LO", "1A")
    assert np.array_equal(read(stored, path), IMAGE)


def code_stream(image=IMAGE, kind="JPEG2000"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **({"no_jp2": True} if kind == "JPEG2000" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize(("syntax", "kind"), [(JPEG2000Lossless, "JPEG2000"), (JPEGBaseline8Bit, "JPEG")])
def test_a_code_stream_of_another_size_is_refused(syntax, kind, path):
    dicom(IMAGE, syntax=syntax, PixelData=encapsulate([code_stream(IMAGE[:, :29], kind)])).save_as(path)
    assert "it declares 20 × 30 × 1 values, and its compressed pixels 20 × 29 × 1" in refusal(path)


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_a_lookup_table_is_kept_where_other_items_follow(vr, path):
    first, second = Dataset(), Dataset()
    for item, entries in ((first, np.arange(256)[::-1]), (second, np.arange(256))):
        item.LUTDescriptor = [256, 0, 8]
        data = entries.astype(np.uint16)
        item.add_new("LUTData", vr, data.tolist() if vr == "US" else data.tobytes())
    assert np.array_equal(read(dicom(IMAGE, VOILUTSequence=[first, second]), path), 255 - IMAGE)
