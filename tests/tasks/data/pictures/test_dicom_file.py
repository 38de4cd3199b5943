import io
import struct
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from models.errors import InputError
from tasks.data.pictures.image_file import read_image
from tests.tasks.data.pictures.dicom_files import IMAGE, dicom, read, refusal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "case.png"  # the name is no hint


def test_eight_bits_and_inversion(path):
    assert np.array_equal(read(dicom(IMAGE), path), IMAGE)
    assert np.array_equal(read(dicom(IMAGE, "MONOCHROME1"), path), 255 - IMAGE)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings(syntax, path):
    values = IMAGE.astype(np.uint16) * 16
    stored = dicom(values.byteswap() if syntax == ExplicitVRBigEndian else values, bits=12, syntax=syntax)
    assert np.array_equal(read(stored, path), np.rint(values * (255 / 4095)))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_is_the_standard_s_formula(photometric, path):
    values = IMAGE.astype(np.uint16) * 16
    center, width = 1500, 801
    shown = read(dicom(values, photometric, 12, WindowCenter=[center, 9], WindowWidth=[width, 9]), path)
    for row, column in [(0, 0), (5, 10), (19, 29), (12, 3), (7, 15)]:
        x = int(values[row, column])  # PS3.3 C.11.2.1.2.1
        if x <= center - 0.5 - (width - 1) / 2:
            y = 0
        elif x > center - 0.5 + (width - 1) / 2:
            y = 255
        else:
            y = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
        assert shown[row, column] == pytest.approx(y if photometric == "MONOCHROME2" else 255 - y, abs=0.51)


def test_a_sigmoid_window(path):
    values = IMAGE.astype(np.uint16) * 16
    shown = read(dicom(values, bits=12, WindowCenter=1500, WindowWidth=800, VOILUTFunction="SIGMOID"), path)
    assert np.abs(shown - 255 / (1 + np.exp(-4 * (values - 1500.0) / 800))).max() < 0.51


@pytest.mark.parametrize("slope", [2, -2])
def test_signed_values_with_rescale_and_window(slope, path):
    values = (IMAGE.astype(np.int16) - 100) * 10
    scaled = values * slope - 50.0
    shown = read(dicom(values, RescaleSlope=slope, RescaleIntercept=-50, WindowCenter=100, WindowWidth=1001), path)
    assert np.abs(shown - (((scaled - 99.5) / 1000 + 0.5) * 255).clip(0, 255)).max() < 0.51


def test_without_a_window_signed_values_are_stretched(path):
    values = IMAGE.astype(np.int16) * 3 - 200
    expected = (values - values.min()) / np.ptp(values) * 255
    assert np.abs(read(dicom(values), path) - expected).max() < 0.51


def table(entries, first, bits, dtype="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", dtype, [int(entry) for entry in entries] if dtype == "US" else entries.tobytes())
    return [item]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("bits", "dtype"), [(8, "US"), (12, "US"), (12, "OW"), (16, "OW")])
def test_a_lookup_table_goes_before_a_window(syntax, bits, dtype, path):
    values = IMAGE.astype(np.uint16) * 4
    entries = (np.linspace(0, 1, 900) ** 2 * (2**bits - 1)).astype(np.uint16)  # longer than 8 bits can count
    stored = dicom(
        values, bits=10, syntax=syntax, VOILUTSequence=table(entries, 100, bits, dtype), WindowCenter=1, WindowWidth=2
    )
    expected = entries[(values.astype(int) - 100).clip(0, 899)] * (255 / (2**bits - 1))
    assert np.abs(read(stored, path) - expected).max() < 0.51


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_modality_table_comes_first(bits, path):
    values = IMAGE.astype(np.uint16)
    entries = np.arange(255, -1, -1, dtype=np.uint16)
    stored = dicom(values, ModalityLUTSequence=table(entries, 0, bits), WindowCenter=128, WindowWidth=256)
    assert np.abs(read(stored, path).astype(int) - (255 - values.astype(int))).max() <= 1


def test_colour_becomes_grey(path):
    colors = np.stack([IMAGE, 255 - IMAGE, IMAGE // 2], axis=-1)
    luma = colors @ [0.299, 0.587, 0.114]
    assert np.abs(read(dicom(colors, "RGB"), path) - luma).max() <= 1
    ycbcr = np.array(Image.fromarray(colors).convert("YCbCr"))
    assert np.abs(read(dicom(ycbcr, "YBR_FULL"), path) - luma).max() <= 3


def test_a_palette(path):
    stored = dicom(IMAGE, "PALETTE COLOR")
    for color in ("Red", "Green", "Blue"):
        setattr(stored, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(stored, f"{color}PaletteColorLookupTableData", (np.arange(256, dtype=np.uint16)[::-1] * 257).tobytes())
    assert np.array_equal(read(stored, path), 255 - IMAGE)


def test_of_several_frames_the_first_counts(path):
    frames = np.stack([IMAGE, 255 - IMAGE])
    assert np.array_equal(read(dicom(IMAGE, NumberOfFrames=2, PixelData=frames.tobytes()), path), IMAGE)


def test_float_pixels(path):
    stored = dicom(IMAGE)
    del stored.PixelData, stored.BitsStored, stored.HighBit, stored.PixelRepresentation
    stored.BitsAllocated = 32
    values = (IMAGE / 300).astype(np.float32)
    stored.FloatPixelData = values.tobytes()
    assert np.abs(read(stored, path) - values / values.max() * 255).max() < 0.51
    values[3, 4] = np.nan
    stored.FloatPixelData = values.tobytes()
    stored.save_as(path)
    assert "holds NaN" in refusal(path)


def test_run_length_encoding(path):
    values = IMAGE.astype(np.uint16) * 16
    stored = dicom(values, bits=12)
    stored.compress(RLELossless)
    assert np.array_equal(read(stored, path), np.rint(values * (255 / 4095)))


@pytest.mark.parametrize(
    ("syntax", "kind", "tolerance"), [(JPEGBaseline8Bit, "JPEG", 4), (JPEG2000Lossless, "JPEG2000", 0)]
)
def test_compression_that_pillow_decodes(syntax, kind, tolerance, path):
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {"no_jp2": True}))
    stored = dicom(IMAGE, "MONOCHROME1", syntax=syntax, PixelData=encapsulate([buffer.getvalue()]))
    assert np.abs(read(stored, path).astype(int) - (255 - IMAGE.astype(int))).max() <= tolerance


def test_compression_without_a_decoder_is_named(path):
    stored = dicom(IMAGE, syntax=JPEGLSLossless, PixelData=encapsulate([b"\xff\xd8\xff\xd9" + bytes(60)]))
    stored.save_as(path)
    assert JPEGLSLossless.name in refusal(path)
    stored.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG-2 video
    stored.save_as(path)
    assert "MPEG2" in refusal(path)


def test_damaged_compressed_pixels_name_the_compression(path):
    dicom(IMAGE, syntax=JPEGBaseline8Bit, PixelData=encapsulate([bytes(64)])).save_as(path)
    assert JPEGBaseline8Bit.name in refusal(path)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_file_without_preamble_and_meta_information(syntax, path):
    stored = dicom(IMAGE, syntax=syntax)
    del stored.file_meta
    stored.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert path.read_bytes()[:2] == b"\x08\x00"
    assert np.array_equal(read_image(path), IMAGE)


def test_a_report_has_no_pixels(path):
    stored = dicom(IMAGE, SOPClassUID=ComprehensiveSRStorage)
    del stored.PixelData
    stored.save_as(path, enforce_file_format=True)
    message = refusal(path)
    assert "without pixels" in message
    assert "Comprehensive SR" in message


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": 0}, "0 × 30 pixels"),
        ({"Rows": 20000, "Columns": 20000}, "at most 64 million"),
        ({"Rows": 40}, "cannot be read"),
        ({"BitsAllocated": 12}, "cannot be read"),
        ({"PhotometricInterpretation": "RGB"}, "it is RGB, yet has 1 samples per pixel and not 3"),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0}, "it is MONOCHROME2, yet has 3 samples"),
        ({"PhotometricInterpretation": "YBR_PARTIAL_420", "SamplesPerPixel": 3}, "PhotometricInterpretation is none"),
        ({"HighBit": 8}, "HighBit 8 contradicts 8 bits stored of 8"),
        ({"BitsStored": 6, "HighBit": 4}, "HighBit 4 contradicts 6 bits stored of 8"),
        ({"WindowCenter": 1, "WindowWidth": 2, "VOILUTFunction": "CUBIC"}, "VOILUTFunction is none of LINEAR,"),
        ({"RescaleSlope": "1e999"}, "RescaleSlope is not finite"),
        ({"PixelAspectRatio": [1, 10**6]}, "20 × 30000000 pixels"),
        ({"SamplesPerPixel": 2}, "cannot be read"),
    ],
)
def test_contradictions_are_refused(elements, said, path):
    dicom(IMAGE, **elements).save_as(path)
    assert said in refusal(path)


def test_damaged_bytes_give_an_image_or_one_sentence(path, recwarn):
    dicom(IMAGE, WindowCenter=100, WindowWidth=200).save_as(path, enforce_file_format=True)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    generator = np.random.default_rng(0)
    header = len(whole) - IMAGE.size
    for trial in range(150):
        damaged = whole[: int(generator.integers(133, len(whole)))].copy() if trial % 3 == 0 else whole.copy()
        damaged[generator.integers(132, min(header, len(damaged)), size=4)] = generator.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path).dtype == np.uint8
        except InputError as error:
            assert path.name in str(error)


def test_real_files_of_many_makers():
    folder = pydicom.data.get_testdata_file("CT_small.dcm").rpartition("/")[0]
    for name in ("MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_jp2klossless.dcm", "MR_small_implicit.dcm"):
        assert np.array_equal(read_image(f"{folder}/{name}"), read_image(f"{folder}/MR_small.dcm"))


def test_text_of_a_file_is_never_shown(path):
    """With a broken length a field swallows those that follow it, such as the patient's name."""
    whole = io.BytesIO()
    window = {"WindowCenter": 100, "WindowWidth": 200, "VOILUTFunction": "LINEAR", "RescaleSlope": 1}
    named = dicom(IMAGE, PatientName="CANARY^NAME", PatientID="CANARY-ID", StudyDescription="CANARY", **window)
    named.save_as(whole, enforce_file_format=True)
    content = whole.getvalue()
    said = set()
    meta = 132
    for at in range(meta, len(content) - IMAGE.size):
        vr = content[at + 4 : at + 6]
        if content[at + 1] in (0, 2, 8, 16, 40) and vr.isalpha() and vr.isupper():
            for length in (65534, 200, 60, 3):
                path.write_bytes(content[: at + 6] + struct.pack("<H", length) + content[at + 8 :])
                try:
                    read_image(path)
                except InputError as error:
                    said.add(str(error))
    assert len(said) > 5
    assert not [sentence for sentence in said if "CANARY" in sentence or "^" in sentence or not sentence.isprintable()]
    # A kind that is known is named.
    assert any("Digital X-Ray Image Storage" in sentence for sentence in said)


def test_escape_sequences_of_a_field_reach_no_message(path):
    stored = dicom(IMAGE, WindowCenter=100, WindowWidth=200, SOPClassUID="1.2\x1b[2J")
    stored.add_new("VOILUTFunction", "LO", "\x1b[2J\x1b[31m<img src=x>")
    stored.save_as(path, enforce_file_format=False, implicit_vr=False, little_endian=True)
    assert "\x1b" not in refusal(path)
    assert "<img" not in refusal(path)


def deflated(dataset_bytes, path):
    """A file whose data set is these bytes, deflated."""
    whole = io.BytesIO()
    dicom(IMAGE, syntax=DeflatedExplicitVRLittleEndian).save_as(whole, enforce_file_format=True)
    content = whole.getvalue()
    meta = content[: 144 + struct.unpack("<I", content[140:144])[0]]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    path.write_bytes(meta + b"".join(map(squeeze.compress, dataset_bytes)) + squeeze.flush())
    assert path.stat().st_size < 400_000


EMPTY_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
ENDLESS_SEQUENCE = struct.pack("<HH2sHI", 8, 0x1110, b"SQ", 0, 2**32 - 1)
OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 2**32 - 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([ENDLESS_SEQUENCE, EMPTY_ITEM * 10**6], "its header has more than 50,000 pieces"),
        ([struct.pack("<HH2sH", 8, 0x60, b"CS", 0) * 10**6], "its header has more than 50,000 pieces"),
        ([(ENDLESS_SEQUENCE + OPEN_ITEM) * 10**5], "cannot be read"),
        ([bytes(1 << 20)] * 300, "it inflates to more than 256 MB"),
    ],
    ids=["items", "elements", "depth", "bytes"],
)
def test_a_deflated_bomb_is_refused(content, said, path):
    deflated(content, path)
    assert said in refusal(path)


@pytest.mark.parametrize("sequence", [0x52009230, 0x00283010])  # per-frame groups, lookup tables
def test_of_a_sequence_of_millions_the_first_item_is_taken_apart(sequence, path):
    plain = io.BytesIO()
    dicom(IMAGE).save_as(plain, implicit_vr=False, little_endian=True, enforce_file_format=False)
    content = plain.getvalue()
    items = struct.pack("<HH2sHI", sequence >> 16, sequence & 0xFFFF, b"SQ", 0, 8 * 10**6) + EMPTY_ITEM * 10**6
    pixels = content.find(struct.pack("<HH", 0x7FE0, 0x10))
    deflated([content[content.find(b"\x08\0") : pixels], items, content[pixels:]], path)
    if sequence == 0x52009230:
        assert np.array_equal(read_image(path), IMAGE)
    else:
        assert "cannot be read" in refusal(path)


@pytest.mark.parametrize("padding", [b"", b"\0", bytes(5000)])
def test_deflated_pixels(padding, path):
    dicom(IMAGE, syntax=DeflatedExplicitVRLittleEndian).save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes() + padding)
    assert np.array_equal(read_image(path), IMAGE)
