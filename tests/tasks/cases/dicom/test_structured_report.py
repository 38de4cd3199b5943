import io
import logging
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from highdicom.sr import ComprehensiveSR
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes
from pydicom.uid import ComprehensiveSRStorage

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.cases.dicom.source import read_source
from tasks.cases.dicom.structured_report import structured_report
from tests.tasks.cases.dicom.sources import NAME, NEEDS_DCIODVFY, NUMBER, SERIES, STUDY, complaints, header, xray
from tests.tasks.cases.small_cases import ALGORITHM, MADE, REASON, UNREADABLE, make_case

SHIPPED = Path(pydicom.__file__).parent / "data"


def report(content: bytes | None = None, case=None, algorithm=ALGORITHM) -> bytes:
    source = header(content) if content else None
    return structured_report(source, case or make_case(), algorithm, made=MADE)


def read(content: bytes) -> ComprehensiveSR:
    return ComprehensiveSR.from_dataset(pydicom.dcmread(io.BytesIO(content)))


def group(content: bytes):
    (found,) = read(content).content.get_image_measurement_groups()
    return found


def texts(content: bytes) -> list[str]:
    return [item.TextValue for item in find_content_items(group(content)[0], value_type="TEXT")]


def said(content: bytes) -> list[tuple[str, str]]:
    """What is told in codes, as name and value."""
    return [(each.name.meaning, each.value.meaning) for each in group(content).get_qualitative_evaluations()]


def test_the_report_refers_to_the_picture_and_is_of_its_patient_and_study():
    content = report(xray())
    found = read(content)
    picture = pydicom.dcmread(io.BytesIO(xray()))
    assert found.SOPClassUID == found.file_meta.MediaStorageSOPClassUID == ComprehensiveSRStorage
    assert (found.StudyInstanceUID, str(found.PatientName), found.PatientID) == (STUDY, NAME, NUMBER)
    assert found.StudyDate == "20260102"
    assert found.get_evidence() == [(STUDY, SERIES, picture.SOPInstanceUID, picture.SOPClassUID)]
    (image,) = group(content).source_images
    assert image.referenced_sop_instance_uid == picture.SOPInstanceUID
    assert found.SeriesInstanceUID != SERIES


def test_what_the_classifier_says_is_measured_and_coded():
    content = report(xray())
    probability, threshold = group(content).get_measurements()
    assert (probability.name.meaning, probability.value) == ("Calibrated probability of pneumonia", 0.8313)
    assert probability.unit == codes.UCUM.NoUnits
    assert threshold.value == 0.5
    assert said(content) == [
        ("Unlike what the classifier was made for", "No"),
        ("Predicted class", "Pneumonia"),
        ("Class in the conformal set with 90 % coverage", "Pneumonia"),
        ("Class in the conformal set with 95 % coverage", "Normal"),
        ("Class in the conformal set with 95 % coverage", "Pneumonia"),
    ]
    (predicted,) = [each.value for each in group(content).get_qualitative_evaluations() if each.name.value == "class"]
    assert (predicted.value, predicted.scheme_designator) == ("233604007", "SCT")
    assert not find_content_items(group(content)[0], name=codes.DCM.Finding)  # which is read as one at any probability


def test_who_observed_is_the_algorithm():
    found = read(report(xray()))
    (observer,) = found.content.get_observer_contexts()
    attributes = observer.observer_identifying_attributes
    assert observer.observer_type == codes.DCM.Device
    assert (attributes.name, attributes.serial_number) == ("pneumonia-workflow", ALGORITHM.classifier_sha256)
    told = "".join(item.TextValue for item in find_content_items(found, value_type="TEXT", recursive=True))
    assert f"classifier SHA-256 {ALGORITHM.classifier_sha256}" in told
    assert ALGORITHM.version in told


def test_research_use_is_said_where_a_viewer_shows_it():
    content = report(xray(), algorithm=ALGORITHM.model_copy(update={"phantoms": True}))
    found = read(content)
    assert found.SeriesDescription == "RESEARCH USE ONLY - not for diagnosis"
    assert found.Manufacturer == "Research software, not a medical device"
    assert (found.VerificationFlag, found.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert {RESEARCH_NOTICE, PHANTOM_NOTICE} <= set(texts(content))


@pytest.mark.parametrize("case", [make_case(foreign=True), UNREADABLE], ids=["foreign", "unreadable"])
def test_what_does_not_count_has_no_figure_and_no_class_but_the_reason(case):
    content = report(xray(), case)
    assert not group(content).get_measurements()
    assert said(content) == ([("Unlike what the classifier was made for", "Yes")] if case.foreign else [])
    text = " ".join(texts(content))
    assert ("It is a colour photograph - of a cafe." if case.foreign else "broken.png cannot be read") in text
    assert REASON not in text  # which no undeclared character set could tell
    assert b"0.83" not in content


def test_an_empty_set_and_a_class_of_another_dataset_are_told():
    case = make_case(label="malignant")
    found = case.classification.model_copy(update={"sets": {"0.90": ()}})
    case = case.model_copy(update={"classification": found})
    algorithm = ALGORITHM.model_copy(update={"classes": ("benign", "malignant")})
    assert said(report(xray(), case, algorithm))[1:] == [
        ("Predicted class", "malignant"),
        ("Class in the conformal set with 90 % coverage", "No class"),
    ]


def test_a_picture_that_is_no_dicom_file_gets_a_study_of_its_own():
    found = read(report())
    assert found.StudyInstanceUID.startswith("1.2.826.0.1.3680043.8.498.")
    assert (str(found.PatientName), found.PatientID, found.get_evidence()) == ("", "", [])
    assert not group(report()).source_images


def test_the_same_case_is_the_same_object_and_anything_else_is_another():
    plain = report(xray())
    assert report(xray()) == plain
    others = [
        report(xray(), make_case(probability=0.84)),
        report(xray(), make_case(foreign=True)),
        report(xray(), make_case(digest="2e" * 32)),
        report(xray(), algorithm=ALGORITHM.model_copy(update={"classifier_sha256": "cd" * 32})),
        report(xray(), algorithm=ALGORITHM.model_copy(update={"version": "0.2.0"})),
        report(),
    ]
    uids = [read(each).SOPInstanceUID for each in (plain, *others)]
    assert len(set(uids)) == len(uids)
    assert len({read(each).SeriesInstanceUID for each in (plain, *others)}) == len(uids)


@NEEDS_DCIODVFY
@pytest.mark.parametrize(
    "content",
    [
        None,
        xray(),
        xray("MONOCHROME1", SpecificCharacterSet="ISO_IR 192", PatientName="Иванов^Иван"),
        xray(without=["StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex"]),
        xray(NumberOfFrames=3, IssuerOfPatientID="HOSPITAL"),
    ],
    ids=["no DICOM", "plain", "Cyrillic", "nothing known", "frames"],
)
@pytest.mark.parametrize("case", [make_case(), make_case(foreign=True), UNREADABLE], ids=["whole", "foreign", "unread"])
def test_the_report_conforms_to_the_standard(content, case, tmp_path):
    assert complaints(report(content, case), tmp_path) == []


@NEEDS_DCIODVFY
def test_reports_on_files_that_pydicom_ships_conform_to_the_standard(tmp_path):
    paths = sorted(SHIPPED.rglob("*.dcm"))[::5]  # all of them conform, which takes long
    assert len(paths) > 20
    for path in paths:
        with path.open("rb") as file:
            source = read_source(file, path.name)
        assert complaints(structured_report(source, make_case(), ALGORITHM, made=MADE), tmp_path) == [], path.name


@NEEDS_DCIODVFY
def test_the_validator_can_refuse(tmp_path):
    found = pydicom.dcmread(io.BytesIO(report(xray())))
    del found.VerificationFlag
    file = io.BytesIO()
    found.save_as(file)
    assert complaints(file.getvalue(), tmp_path)


@pytest.mark.skipif(
    shutil.which("dsrdump") is None, reason="DCMTK is not installed: apt-get install dcmtk (.ci/run does)"
)
def test_another_reader_reads_it(tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(report(xray()))
    told = subprocess.run(["dsrdump", "+Pl", path], capture_output=True, text=True, check=True)
    assert not told.stderr
    for part in ("Comprehensive SR Document", '"0.8313" (1,UCUM', '(233604007,SCT,"Pneumonia")', RESEARCH_NOTICE):
        assert part in told.stdout


def test_nothing_of_the_patient_is_logged_or_warned_of(caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    content = report(xray(raw={"PatientName": ("PN", b"CANARY\xff^A"), "PatientBirthDate": ("DA", b"CANARY")}))
    assert b"CANARY\xff^A" in content
    assert "CANARY" not in caplog.text + "".join(str(each.message) for each in recwarn)
