import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from tests.tasks.data.pictures.dicom_files import IMAGE, dicom, read

DEEP = IMAGE.astype(np.uint16) * 16  # 12 bits
FULL_RANGE = np.rint(DEEP * (255 / 4095))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "case.dcm"


def shown(path, *arguments, **elements):
    return read(dicom(*arguments, **elements), path)


def test_an_empty_rescale_changes_nothing(path):
    assert np.array_equal(shown(path, DEEP, bits=12, RescaleSlope=None, RescaleIntercept=None), FULL_RANGE)
    windowed = shown(path, DEEP, bits=12, WindowCenter=1500, WindowWidth=3000)
    for empty in ({"RescaleSlope": None}, {"RescaleSlope": "", "RescaleIntercept": "0"}, {"RescaleIntercept": None}):
        assert np.array_equal(shown(path, DEEP, bits=12, WindowCenter=1500, WindowWidth=3000, **empty), windowed)
    # An intercept alone counts, with a slope of 1.
    moved = shown(path, DEEP, bits=12, WindowCenter=500, WindowWidth=3000, RescaleIntercept=-1000)
    assert np.array_equal(moved, windowed)


@pytest.mark.parametrize("function", ["", None, "LINEAR"])
def test_a_function_that_is_not_named_is_linear(function, path):
    window = {"WindowCenter": 1500, "WindowWidth": 3000}
    expected = (((DEEP - 1499.5) / 2999 + 0.5) * 255).clip(0, 255)
    assert np.abs(shown(path, DEEP, bits=12, VOILUTFunction=function, **window) - expected).max() < 0.51


@pytest.mark.parametrize("width", [0, -5, None, ""])
def test_a_window_of_no_width_is_none(width, path):
    assert np.array_equal(shown(path, DEEP, bits=12, WindowCenter=100, WindowWidth=width), FULL_RANGE)
    assert np.array_equal(shown(path, DEEP, bits=12, WindowCenter=[100, 9], WindowWidth=[0, 9]), FULL_RANGE)


def test_a_linear_window_of_width_one_is_a_threshold(path):
    assert np.array_equal(shown(path, DEEP, bits=12, WindowCenter=500, WindowWidth=1), (DEEP > 499.5) * 255)


def test_a_width_below_one_is_the_exact_function(path):
    elements = {"RescaleSlope": "0.0001", "RescaleIntercept": "0", "WindowCenter": ".2", "WindowWidth": ".3"}
    expected = (((DEEP * 0.0001 - 0.2) / 0.3 + 0.5) * 255).clip(0, 255)
    assert np.abs(shown(path, DEEP, bits=12, **elements) - expected).max() < 0.51
    exact = {"WindowCenter": 1500, "WindowWidth": 800, "VOILUTFunction": "LINEAR_EXACT"}
    expected = (((DEEP - 1500.0) / 800 + 0.5) * 255).clip(0, 255)
    assert np.abs(shown(path, DEEP, bits=12, **exact) - expected).max() < 0.51


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),  # which the standard asks of MONOCHROME1: once, not twice
        ("MONOCHROME1", "", True),
    ],
)
def test_the_presentation_inverts_once(photometric, shape, inverted, path):
    assert np.array_equal(
        shown(path, IMAGE, photometric, PresentationLUTShape=shape), 255 - IMAGE if inverted else IMAGE
    )


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count(photometric, path):
    values = (IMAGE.astype(np.int16) - 100) * 10
    values[:, :3] = -32768
    picture = values[:, 3:]
    expected = (picture - picture.min()) / np.ptp(picture) * 255
    padded = shown(path, values, photometric, PixelPaddingValue=-32768)
    assert (padded[:, :3] == 0).all()
    assert np.abs(padded[:, 3:] - (expected if photometric == "MONOCHROME2" else 255 - expected)).max() < 0.51


def test_padding_outside_the_stored_bits(path):
    values = DEEP.copy()
    values[:, :3] = 65535
    padded = shown(path, values, bits=12, PixelPaddingValue=65535)
    assert (padded[:, :3] == 0).all()
    assert np.array_equal(padded[:, 3:], FULL_RANGE[:, 3:])


@pytest.mark.parametrize("limits", [(-2000, -1500), (-1500, -2000)])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_a_range_of_padding(limits, syntax, path):
    values = IMAGE.astype(np.int16) * 3 - 50
    values[0] = np.linspace(-2000, -1500, 30)
    stored = dicom(values, **({"syntax": syntax} if syntax else {}))
    stored.add_new("PixelPaddingValue", "SS", limits[0])
    stored.add_new("PixelPaddingRangeLimit", "SS", limits[1])
    padded = read(stored, path)
    assert (padded[0] == 0).all()
    assert np.abs(padded[1:] - (values[1:] + 35.0) / (values[1:].max() + 35) * 255).max() < 0.51


def test_padding_written_unsigned_in_a_signed_picture(path):
    values = IMAGE.astype(np.int16) * 3 - 50
    values[0] = -2000
    stored = dicom(values)
    stored.add_new("PixelPaddingValue", "US", 65536 - 2000)
    padded = read(stored, path)
    assert (padded[0] == 0).all()
    assert padded[1:].max() == 255
    assert (padded[-1] > 0).all()


def test_a_picture_of_padding_only_is_black(path):
    assert not shown(path, np.full((4, 5), 7, np.uint8), PixelPaddingValue=7).any()


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 7])
def test_fewer_than_eight_bits_span_black_to_white(bits, path):
    values = IMAGE >> (8 - bits)
    expected = values * (255 / (2**bits - 1))
    assert np.abs(shown(path, values, bits=bits) - expected).max() < 0.51
    assert np.abs(shown(path, values, "MONOCHROME1", bits=bits) - (255 - expected)).max() < 0.51


def functional_groups(window=(), rescale=(), spacing=()):
    groups = Dataset()
    for name, keywords, values in (
        ("FrameVOILUTSequence", ("WindowCenter", "WindowWidth", "VOILUTFunction"), window),
        ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept"), rescale),
        ("PixelMeasuresSequence", ("PixelSpacing",), spacing),
    ):
        if values:
            item = Dataset()
            for keyword, value in zip(keywords, values, strict=False):
                setattr(item, keyword, value)
            setattr(groups, name, [item])
    return groups


@pytest.mark.parametrize("undefined_length", [False, True])
def test_the_groups_of_an_enhanced_file_give_window_and_rescale(undefined_length, path):
    second = functional_groups(window=(1, 2))
    stored = dicom(
        DEEP,
        bits=12,
        NumberOfFrames=2,
        PixelData=np.stack([DEEP, DEEP[::-1]]).tobytes(),
        SharedFunctionalGroupsSequence=[functional_groups(window=(7, 9), rescale=(2, -1000))],
        PerFrameFunctionalGroupsSequence=[functional_groups(window=(1000, 4001, "LINEAR")), second],
    )
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        stored[keyword].is_undefined_length = undefined_length
    expected = (((DEEP * 2.0 - 1000 - 999.5) / 4000 + 0.5) * 255).clip(0, 255)
    assert np.abs(read(stored, path) - expected).max() < 0.51


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (40, 30)),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, (20, 60)),
        ({"NominalScannedPixelSpacing": [0.3, 0.1]}, (60, 30)),
        ({"PixelAspectRatio": [3, 2]}, (30, 30)),
        ({"SharedFunctionalGroupsSequence": [functional_groups(spacing=([0.2, 0.1],))]}, (40, 30)),
        ({"PixelSpacing": [0.143, 0.1435]}, (20, 30)),
        ({"PixelSpacing": [0, 0.1]}, (20, 30)),
        ({"PixelSpacing": [-1, 1]}, (20, 30)),
        ({"PixelSpacing": None, "PixelAspectRatio": [2, 1]}, (40, 30)),
    ],
)
def test_pixels_come_out_square(elements, shape, path):
    stretched = shown(path, IMAGE, **elements)
    assert stretched.shape == shape
    # A ramp stays one: what it shows at a place of the body is what it showed there before.
    middle = stretched[shape[0] // 2, shape[1] // 2]
    assert abs(int(middle) - int(IMAGE[10, 15])) <= 4
