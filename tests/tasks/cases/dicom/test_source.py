import io
import logging
import re
import struct
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    XRayAngiographicImageStorage,
)

from models.errors import InputError
from tasks.cases.dicom.source import carry_patient_over, made_uid, origin, read_source
from tests.tasks.cases.dicom.sources import BIRTH, NAME, NUMBER, SERIES, STUDY, header, xray

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


def carried(source: Dataset | None) -> dict[str, object]:
    """What another object is told of the patient, as its elements lie in the file."""
    target = Dataset()
    carry_patient_over(source, target)
    file = io.BytesIO()
    target.save_as(file, implicit_vr=False, little_endian=True)
    file.seek(0)
    found = pydicom.dcmread(file, force=True)
    sets = found.pop("SpecificCharacterSet", None)
    told = {keyword_for_tag(element.tag): element.value.strip() for element in found.elements()}
    return told if sets is None else told | {"SpecificCharacterSet": sets.value}


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_the_patient_and_the_study_are_carried_over(syntax):
    content = xray()
    if syntax is not None:
        dataset = pydicom.dcmread(io.BytesIO(content))
        dataset.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
        content = file.getvalue()
    source = header(content)
    assert carried(source) == {
        "PatientName": NAME.encode(), "PatientID": NUMBER.encode(), "PatientBirthDate": BIRTH.encode(),
        "PatientSex": b"F", "StudyDate": b"20260102", "StudyTime": b"030405", "AccessionNumber": b"A1",
        "StudyID": b"S1", "ReferringPhysicianName": b"REFERRER^ROE", "StudyDescription": b"CHEST AP",
    }  # fmt: skip
    place = origin(source, "digest")
    assert (place.study, place.picture.series, place.dicom) == (STUDY, SERIES, True)


@pytest.mark.parametrize(
    ("character_set", "name", "encoding"),
    [
        ("ISO_IR 100", "Müller^Jörg", "latin1"),
        ("ISO_IR 192", "Иванов^Иван", "utf8"),
        ("ISO_IR 144", "Иванов^Иван", "iso8859_5"),
        ("GB18030", "王^小东", "gb18030"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", None),
    ],
)
def test_names_in_any_script_stay_the_same_bytes(character_set, name, encoding):
    content = xray(SpecificCharacterSet=character_set, PatientName=name)
    raw = pydicom.dcmread(io.BytesIO(content)).get_item("PatientName").value.strip()
    assert encoding is None or raw == name.encode(encoding)
    found = carried(header(content))
    assert found["PatientName"] == raw
    assert found["SpecificCharacterSet"] == character_set


@pytest.mark.parametrize("declared", [None, b"ISO_IR 999", b"CANARY-4711 ", b"ISO_IR 192"])
def test_a_name_of_no_declared_script_stays_the_same_bytes(declared):
    raw = {"PatientName": ("PN", b"M\xfcller\xd0\x98")} | (
        {"SpecificCharacterSet": ("CS", declared)} if declared else {}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what pydicom says while the test makes it
        content = xray(raw=raw)
    found = carried(header(content))
    assert found["PatientName"] == b"M\xfcller\xd0\x98"
    assert found.get("SpecificCharacterSet") == (
        declared.decode() if declared in (b"ISO_IR 999", b"ISO_IR 192") else None
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"PatientBirthDate": ("DA", b"1901.02.03")}, {"PatientBirthDate": b"19010203"}),
        ({"PatientBirthDate": ("DA", b"03 FEB 1901 ")}, {"PatientBirthDate": b""}),
        ({"StudyTime": ("TM", b"03:04:05")}, {"StudyTime": b"030405"}),
        ({"StudyTime": ("TM", b"0304"), "StudyDate": ("DA", b"")}, {"StudyTime": b"0304", "StudyDate": b""}),
        ({"PatientSex": ("CS", b"W ")}, {"PatientSex": b""}),
        ({"PatientName": ("UN", b"CANARY^ZEBRA"), "PatientID": ("IS", b"4711")}, {"PatientID": b"4711"}),
        ({"PatientID": ("LO", b"CAN\0ARY\n47")}, {"PatientID": b"CANARY47"}),
        ({"PatientID": ("LO", b"A\\BC")}, {"PatientID": b"A\\BC"}),
        ({"PatientID": ("LO", b"A" * 2000)}, {"PatientID": b""}),
        ({"PatientName": ("OB", b"\1\2\3\4")}, {"PatientName": b""}),
    ],
)
def test_values_that_are_none_are_left_out(raw, expected):
    found = carried(header(xray(raw=raw)))
    assert found | expected == found


def test_a_patient_who_is_not_named_stays_empty():
    without = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDescription"]
    found = carried(header(xray(without=without)))
    assert not any(found[name] for name in without[:4])
    assert "StudyDescription" not in found
    assert not any(carried(None).values())


def test_a_header_that_was_taken_apart_is_carried_over_too():
    source = header(xray(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg"))
    assert str(source.PatientName) == "Müller^Jörg"
    assert carried(source)["PatientName"] == "Müller^Jörg".encode("latin1")


def test_missing_identifiers_are_made_of_the_digest_and_always_the_same():
    source = header(xray(without=["StudyInstanceUID"]))
    assert origin(source, "a").study == origin(source, "a").study == origin(None, "a").study
    assert origin(source, "a").study != origin(source, "b").study
    broken = header(xray(raw={"StudyInstanceUID": ("UI", b"1.2.STUDY")}))
    assert origin(broken, "a").study == origin(broken, "b").study  # pictures of one study stay together
    for uid in (origin(source, "a").study, origin(broken, "a").study, made_uid("x" * 1000)):
        assert re.fullmatch(r"[0-9.]{1,64}", uid)
    assert made_uid("ab", "c") != made_uid("a", "bc")


@pytest.mark.parametrize("missing", ["SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"])
def test_what_lacks_an_identifier_is_not_referred_to(missing):
    dataset = pydicom.dcmread(io.BytesIO(xray()))
    delattr(dataset, missing)
    if missing.startswith("SOP"):
        assert origin(dataset, "a").picture is not None  # the file's own header tells it
        del dataset.file_meta
    assert origin(dataset, "a").picture is None
    assert origin(dataset, "a").study == STUDY


def test_a_frame_is_named_only_where_the_kind_has_several():
    assert origin(header(xray(NumberOfFrames=3)), "a").picture.frame is None  # a radiograph has one, whatever it says
    angiography = xray(NumberOfFrames=3, raw={"SOPClassUID": ("UI", XRayAngiographicImageStorage.encode())})
    assert origin(header(angiography), "a").picture.frame == 1


def test_orientation_and_loss_are_told():
    place = origin(header(xray(PatientOrientation=["L", "F"], LossyImageCompression="01")), "a")
    assert (place.orientation, place.lossy) == (("L", "F"), True)
    place = origin(header(xray(PatientOrientation=["LEFT", ""])), "a")
    assert (place.orientation, place.lossy) == ((), False)
    assert origin(header((SHIPPED / "JPEG2000.dcm").read_bytes()), "a").lossy


def test_what_is_no_dicom_file_has_no_header():
    assert read_source(io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(200)), "scan.png") is None
    assert read_source(io.BytesIO(b""), "nothing") is None


def test_a_damaged_header_is_one_sentence_without_the_patient(caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    pixels = xray().index(b"\xe0\x7f\x10\x00")
    endless = b"".join(struct.pack("<HH2sH", 0x11, 0x1000 + number % 0xE000, b"LO", 0) for number in range(60_000))
    with pytest.raises(InputError, match=r"scan\.dcm has a damaged DICOM header") as caught:
        header(xray()[:pixels] + endless)
    assert caught.value.__cause__ is None
    assert "CANARY" not in str(caught.value) + caplog.text + "".join(str(each.message) for each in recwarn)


def test_nothing_of_the_patient_is_logged_or_warned_of(caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    raw = {
        "SpecificCharacterSet": ("CS", b"CANARY-4711 "), "PatientBirthDate": ("DA", b"CANARY-47111"),
        "PatientSex": ("CS", b"canary-sex"), "StudyTime": ("TM", b"CANARY"), "PatientName": ("PN", b"CANARY\xff^A"),
    }  # fmt: skip
    content = xray(raw=raw)
    recwarn.clear()
    source = header(content)
    origin(source, "a")
    carried(source)
    told = caplog.text + "".join(str(each.message) for each in recwarn)
    assert "canary" not in told.lower()
