"""To and from a real DICOM archive."""

import io
import re
from datetime import date

import numpy as np
import pydicom
import pytest

from models.errors import InputError
from tasks.cases.archive import list_instances, retrieve, store
from tasks.cases.dicom.capture import capture
from tasks.cases.dicom.source import read_source
from tasks.cases.dicom.structured_report import structured_report
from tests.e2e.orthanc import LOGIN, orthanc
from tests.tasks.cases.dicom.sources import NAME, NUMBER, STUDY, xray
from tests.tasks.cases.small_cases import ALGORITHM, MADE, make_case

pytestmark = pytest.mark.e2e
# What Orthanc calls an error: how the library asks for JSON, and what the tests ask for that is not there.
_EXPECTED = re.compile(r"Unsupported return MIME type|inexistent|Inexistent|Missing \"since\" argument")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("archive"), LOGIN) as found:
        yield found
        errors = [line for line in found.log.read_text().splitlines() if re.match(r"E\d{4} ", line)]
        assert [line for line in errors if not _EXPECTED.search(line)] == []


@pytest.fixture(scope="module")
def pictures(archive):
    """Three X-rays of one study, one of another, and what is none."""
    contents = [
        xray(SOPInstanceUID="1.2.3.1"),
        xray(SOPInstanceUID="1.2.3.2", Modality="CR", SeriesInstanceUID="1.2.3.8", BodyPartExamined="SKULL"),
        xray(SOPInstanceUID="1.2.3.3", BodyPartExamined="HAND", SeriesInstanceUID="1.2.9"),
        xray(SOPInstanceUID="1.2.3.4", StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.1", StudyDate="20250101"),
        xray(SOPInstanceUID="1.2.3.5", Modality="CT", SeriesInstanceUID="1.2.3.9"),
    ]
    store(archive.url, contents, login=LOGIN)
    return contents


def ends(addresses):
    return [address.rpartition("/")[2] for address in addresses]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["1.2.3.4", "1.2.3.2", "1.2.3.1", "1.2.3.3"]),
        ({"study": STUDY}, ["1.2.3.2", "1.2.3.1", "1.2.3.3"]),
        ({"study": "1.2.4"}, ["1.2.3.4"]),
        ({"study": "1.2.5"}, []),
        ({"body_part": "chest"}, ["1.2.3.4", "1.2.3.1"]),
        ({"since": date(2026, 1, 2)}, ["1.2.3.2", "1.2.3.1", "1.2.3.3"]),
        ({"since": date(2026, 1, 3)}, []),
        ({"modalities": ["CR"]}, ["1.2.3.2"]),
        ({"modalities": ["DX", "CR"], "body_part": "SKULL", "study": STUDY}, ["1.2.3.2"]),
    ],
)
def test_xrays_are_found_by_what_is_asked(archive, pictures, query, found):
    addresses = list_instances(archive.url, login=LOGIN, **query)
    assert ends(addresses) == found
    assert addresses == sorted(addresses)


def test_a_page_at_a_time(archive, pictures, monkeypatch):
    whole = list_instances(archive.url, login=LOGIN)
    monkeypatch.setattr("tasks.cases.archive._PAGE", 1)
    assert list_instances(archive.url, login=LOGIN) == whole
    monkeypatch.setattr("tasks.cases.archive.MAXIMUM_INSTANCES", 2)
    with pytest.raises(InputError, match="more than 2 such X-rays"):
        list_instances(archive.url, login=LOGIN)


def test_a_picture_is_fetched_as_it_was_stored(archive, pictures):
    (address,) = list_instances(archive.url, login=LOGIN, study="1.2.4")
    assert retrieve(address, login=LOGIN) == pictures[3]


def test_results_go_back_into_the_study_and_twice_are_once(archive, pictures):
    address = list_instances(archive.url, login=LOGIN, study=STUDY, body_part="CHEST")[0]
    source = read_source(io.BytesIO(retrieve(address, login=LOGIN)), "x-ray")
    image = np.zeros((1200, 1000, 3), dtype=np.uint8)
    results = [
        structured_report(source, make_case(), ALGORITHM, made=MADE),
        capture(source, image, make_case(), ALGORITHM, made=MADE),
    ]
    before = archive.rest("statistics")
    found = list_instances(archive.url, login=LOGIN)
    for _ in range(2):
        store(archive.url, results, login=LOGIN)
    after = archive.rest("statistics")
    assert after["CountInstances"] == before["CountInstances"] + 2
    assert (after["CountPatients"], after["CountStudies"]) == (before["CountPatients"], before["CountStudies"])
    assert list_instances(archive.url, login=LOGIN) == found  # no result is taken for an X-ray
    for content in results:
        sent = pydicom.dcmread(io.BytesIO(content))
        place = f"studies/{sent.StudyInstanceUID}/series/{sent.SeriesInstanceUID}/instances/{sent.SOPInstanceUID}"
        kept = pydicom.dcmread(io.BytesIO(retrieve(f"dicomweb+{archive.url}/{place}", login=LOGIN)))
        assert kept == sent
        assert (str(kept.PatientName), kept.PatientID) == (NAME, NUMBER)


@pytest.mark.parametrize("login", [None, "radiology:wrong", "a-token"])
def test_who_does_not_log_in_is_told_how(archive, login):
    with pytest.raises(InputError, match="status 401 when searched: name a Secret block") as caught:
        list_instances(archive.url, login=login)
    assert "wrong" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_what_is_not_there_is_one_sentence(archive, pictures):
    (address,) = list_instances(archive.url, login=LOGIN, study="1.2.4")
    with pytest.raises(InputError, match="status 404 when asked for a picture"):
        retrieve(f"{address}9", login=LOGIN)
    with pytest.raises(InputError, match="status 404 when searched"):
        list_instances(f"{archive.url}s", login=LOGIN)
    with pytest.raises(InputError, match="status 400 when searched"):
        list_instances(archive.url.removesuffix("/dicom-web"), login=LOGIN)
