"""X-rays in DICOM files as they are met in the wild, and what checks the objects that go back."""

import io
import shutil
import subprocess

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tasks.cases.dicom.source import read_source
from tests.tasks.data.pictures.dicom_files import IMAGE, dicom

NAME, NUMBER, BIRTH = "CANARY^ZEBRA", "CANARY-4711", "19010203"
STUDY, SERIES = (str(generate_uid(entropy_srcs=[kind])) for kind in ("study", "series"))
NEEDS_DCIODVFY = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed: apt-get install dicom3tools (.ci/run does)"
)


def xray(photometric="MONOCHROME2", syntax=ExplicitVRLittleEndian, without=(), raw=None, **elements) -> bytes:
    """An X-ray of a patient, as a file.

    Args:
        photometric: how its values are shown.
        syntax: transfer syntax.
        without: elements that it lacks.
        raw: values by keyword as they lie in the file, as a pair of value representation and bytes.
        elements: others, or other values.
    """
    named = {
        "PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BIRTH, "PatientSex": "F",
        "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "StudyDate": "20260102", "StudyTime": "030405",
        "AccessionNumber": "A1", "StudyID": "S1", "ReferringPhysicianName": "REFERRER^ROE", "Modality": "DX",
        "StudyDescription": "CHEST AP", "BodyPartExamined": "CHEST",
    }  # fmt: skip
    dataset = dicom(IMAGE, photometric, syntax=syntax, **(named | elements))
    for keyword in without:
        delattr(dataset, keyword)
    for keyword, (vr, value) in (raw or {}).items():
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    dataset["PixelData"].VR = "OB"
    dataset.set_original_encoding(False, True, dataset._character_set)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def header(content: bytes) -> Dataset | None:
    """The header of a file in memory."""
    return read_source(io.BytesIO(content), "scan.dcm")


def complaints(content: bytes, folder) -> list[str]:
    """What dciodvfy has against an object; its warnings are not among it."""
    path = folder / "object.dcm"
    path.write_bytes(content)
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False)
    lines = (told.stdout + told.stderr).splitlines()
    assert any(name in lines for name in ("ComprehensiveSR", "SCImage")), lines  # else it has not looked at it
    return [line for line in lines if line.startswith("Error")]
