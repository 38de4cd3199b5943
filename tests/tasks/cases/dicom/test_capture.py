import io
import logging

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

from tasks.cases.dicom.capture import capture
from tests.tasks.cases.dicom.sources import NAME, NEEDS_DCIODVFY, NUMBER, STUDY, complaints, header, xray
from tests.tasks.cases.small_cases import ALGORITHM, MADE, make_case

RANDOM = np.random.default_rng(0)


def picture(height=600, width=700):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def made(content=None, image=None, case=None, algorithm=ALGORITHM) -> bytes:
    image = np.zeros((20, 30, 3), dtype=np.uint8) if image is None else image
    return capture(header(content) if content else None, image, case or make_case(), algorithm, made=MADE)


def read(content):
    return pydicom.dcmread(io.BytesIO(content))


def test_the_picture_is_kept_and_words_stand_below_it():
    image = picture()
    shown = read(made(xray(), image)).pixel_array
    assert shown.dtype == np.uint8
    assert shown.shape[1:] == (700, 3)
    assert np.array_equal(shown[:600], image)
    band = shown[600:]
    assert 20 < len(band) < 200
    assert {0, 255} <= set(np.unique(band))
    assert (band.max(axis=(1, 2)) == 255).any()


def test_the_words_say_research_use_and_the_result():
    plain, foreign = (read(made(xray(), case=case)).pixel_array for case in (make_case(), make_case(foreign=True)))
    assert plain.shape != foreign.shape or not np.array_equal(plain, foreign)
    phantoms = ALGORITHM.model_copy(update={"phantoms": True})
    assert len(read(made(xray(), algorithm=phantoms)).pixel_array) > len(plain)  # it has one notice more


@pytest.mark.parametrize(("height", "width", "factor"), [(28, 28, 19), (3000, 100, 1), (600, 512, 1), (40, 300, 2)])
def test_a_narrow_picture_is_enlarged_so_that_the_words_can_be_read(height, width, factor):
    image = picture(height, width)
    shown = read(made(None, image)).pixel_array
    enlarged = np.asarray(Image.fromarray(image).resize((factor * width, factor * height), Image.Resampling.NEAREST))
    assert shown.shape[1] >= 512
    assert np.array_equal(shown[: factor * height, : factor * width], enlarged)


def test_the_object_says_what_it_is_and_what_it_was_made_of():
    source = read(xray(PatientOrientation=["L", "F"], LossyImageCompression="01"))
    found = read(made(xray(PatientOrientation=["L", "F"], LossyImageCompression="01")))
    assert found.SOPClassUID == SecondaryCaptureImageStorage
    assert (found.StudyInstanceUID, str(found.PatientName), found.PatientID) == (STUDY, NAME, NUMBER)
    assert found.BurnedInAnnotation == "YES"
    assert found.SeriesDescription == "RESEARCH USE ONLY - not for diagnosis"
    assert found.ImageComments.startswith("Research use only")
    assert "Heat map of classifier abababababab" in found.DerivationDescription
    assert list(found.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert (list(found.PatientOrientation), found.LossyImageCompression) == (["L", "F"], "01")
    (reference,) = found.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert "PixelSpacing" not in found  # with the band, and enlarged, it would be wrong
    assert "SourceImageSequence" not in read(made())


def test_the_same_case_is_the_same_object():
    assert made(xray()) == made(xray())
    assert read(made(xray())).SOPInstanceUID != read(made(xray(), case=make_case(probability=0.84))).SOPInstanceUID


@NEEDS_DCIODVFY
@pytest.mark.parametrize(
    "content",
    [
        None,
        xray(),
        xray("MONOCHROME1", SpecificCharacterSet="ISO_IR 192", PatientName="Иванов^Иван"),
        xray(without=["StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex"]),
        xray(NumberOfFrames=3, PatientOrientation=["L", "F"], LossyImageCompression="01"),
    ],
    ids=["no DICOM", "plain", "Cyrillic", "nothing known", "frames"],
)
def test_the_capture_conforms_to_the_standard(content, tmp_path):
    for case in (make_case(), make_case(foreign=True)):
        assert complaints(made(content, case=case), tmp_path) == []


def test_nothing_of_the_patient_is_logged_or_warned_of(caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    content = made(xray(raw={"PatientName": ("PN", b"CANARY\xff^A"), "PatientSex": ("CS", b"CANARY")}))
    assert b"CANARY\xff^A" in content
    assert "CANARY" not in caplog.text + "".join(str(each.message) for each in recwarn)
