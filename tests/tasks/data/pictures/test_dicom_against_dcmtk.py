"""Every file that pydicom ships, and what DCMTK compresses, against DCMTK: a decoder that shares no code with ours."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from models.errors import InputError
from tasks.data.pictures.image_file import read_image
from tests.tasks.data.pictures.dicom_files import IMAGE, dicom, read

pytestmark = pytest.mark.skipif(
    shutil.which("dcm2pnm") is None, reason="DCMTK is not installed: apt-get install dcmtk (.ci/run does)"
)

SHIPPED = Path(pydicom.__file__).parent / "data"
# Where the two differ, and why.
EXPLAINED = {
    "SC_rgb_jpeg.dcm": "DCMTK stops at its code stream, which lacks the end",
    "SC_ybr_full_422_uncompressed.dcm": "colours are converted with another rounding: 2 levels",
    "rtdose_expb.dcm": "DCMTK swaps the halves of 32-bit big-endian values; the little-endian twin is equal",
    "rtdose_expb_1frame.dcm": "the same",
}
_JPEG, _JPEG_LS, _JPEG_2000 = (f"1.2.840.10008.1.2.4.{family}" for family in ("", "8", "9"))


def shipped():
    files = [
        path for path in sorted(SHIPPED.rglob("*")) if path.is_file() and path.suffix not in {".gz", ".py", ".pyc"}
    ]
    return [path for path in files if path.suffix == ".dcm" or path.open("rb").read(132).endswith(b"DICM")]


def by_dcmtk(path, folder):
    """What DCMTK shows, in the range that `to_grey_levels` documents; None where it does not read the file."""
    dataset = pydicom.dcmread(path, force=True)
    syntax = str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", ""))
    tool = "dcml2pnm" if syntax.startswith(_JPEG_LS) else "dcmj2pnm" if syntax.startswith(_JPEG) else "dcm2pnm"
    target = folder / "shown.pgm"

    def show(*options):
        target.unlink(missing_ok=True)
        subprocess.run([tool, "-O", *options, path, target], capture_output=True, check=False)
        return np.array(Image.open(target)).astype(int) if target.exists() and target.stat().st_size else None

    if not str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME"):
        return show("+G")
    if dataset.get("WindowWidth") is not None:
        return show("+Wi", "1")
    if dataset.BitsStored == 8:
        return show()
    if dataset.BitsStored < 8 or dataset.BitsStored > 16 or dataset.PixelRepresentation:
        return show("+Wm")  # from the smallest value to the largest
    # Whole values from 0: white is the largest value of the fewest usual bits that hold them.
    values = show("+Ww", "32768", "65536", "+opn", "16")
    bits = next(bits for bits in (8, 10, 12, 14, 16) if values.max() < 2**bits)
    return show("+Ww", str(2 ** (bits - 1)), str(2**bits))


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(SHIPPED)))
def test_shipped_files(path, tmp_path):
    try:
        ours = read_image(path).astype(int)
    except InputError:
        ours = None
    if str(pydicom.dcmread(path, force=True).file_meta.get("TransferSyntaxUID", "")).startswith(_JPEG_2000):
        pytest.skip("DCMTK 3.6 decodes no JPEG 2000")
    theirs = by_dcmtk(path, tmp_path)
    if path.name in EXPLAINED:
        assert ours is not None
        assert theirs is None or np.abs(ours - theirs).max() > 1  # else the explanation can go
        return
    assert (ours is None) == (theirs is None)
    if ours is not None:
        if ours.shape != theirs.shape:  # pixels that are not square, which DCMTK leaves as they are
            upright = Image.fromarray(theirs.astype(np.uint8)).resize(ours.shape[::-1], Image.Resampling.BICUBIC)
            theirs = np.array(upright).astype(int)
            assert np.abs(ours - theirs).max() <= 2  # rounded twice
        else:
            assert np.abs(ours - theirs).max() <= 1


def test_the_byte_order_of_32_bits_makes_no_difference():
    for frames in ("", "_1frame"):
        big, little = (SHIPPED / "test_files" / f"rtdose{order}{frames}.dcm" for order in ("_expb", ""))
        assert np.array_equal(read_image(big), read_image(little))


@pytest.mark.parametrize("option", ["+e1", "+el", "+sv", "+ee", "jls", "near"])
@pytest.mark.parametrize(
    ("values", "bits"),
    [
        (IMAGE, 8),
        (IMAGE.astype(np.uint16) * 16, 12),
        (IMAGE.astype(np.int16) * 8 - 900, 12),
        (IMAGE.astype(np.uint16) * 257, 16),
    ],
    ids=["8", "12", "signed 12", "16"],
)
def test_what_dcmtk_compresses(option, values, bits, tmp_path):
    plain, small = tmp_path / "plain.dcm", tmp_path / "small.dcm"
    signed = values.dtype.kind == "i"
    window = {"WindowCenter": 0 if signed else 2 ** (bits - 1), "WindowWidth": 2**bits}
    expected = read(dicom(values, bits=bits, **window), plain).astype(int)
    commands = {"jls": ["dcmcjpls"], "near": ["dcmcjpls", "+en", "+md", "2"], "+sv": ["dcmcjpeg", "+el", "+sv", "4"]}
    command = commands.get(option, ["dcmcjpeg", option])
    if (option == "+ee" and bits == 16) or (option == "near" and signed):
        pytest.skip("there is no such compression")
    subprocess.run([*command, plain, small], capture_output=True, check=True)
    assert small.stat().st_size != plain.stat().st_size
    difference = np.abs(read_image(small).astype(int) - expected).max()
    lossy = {"+ee": 3, "near": 1 if bits > 8 else 2}
    assert difference <= lossy.get(option, 0)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1000), (0.5, 3)])
def test_windows(photometric, function, slope, intercept, tmp_path):
    path = tmp_path / "case.dcm"
    values = IMAGE.astype(np.uint16) * 16
    elements = {"RescaleSlope": slope, "RescaleIntercept": intercept, "VOILUTFunction": function}
    ours = read(dicom(values, photometric, 12, WindowCenter=900, WindowWidth=1500, **elements), path).astype(int)
    theirs = by_dcmtk(path, tmp_path)
    assert np.abs(ours - theirs).max() <= 1
