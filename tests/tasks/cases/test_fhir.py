import json
from datetime import datetime

import pytest
from fhir.resources.bundle import Bundle

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.cases.fhir import case_bundle
from tests.models.report_generation.test_fhir import make_report
from tests.tasks.cases.small_cases import ALGORITHM, MADE, UNREADABLE, make_case

STUDY = "1.2.3.4"


def resources(bundle: dict, kind: str) -> list[dict]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


@pytest.mark.parametrize("study", [None, STUDY])
@pytest.mark.parametrize("reports", [(), (make_report(), make_report(label=None))])
@pytest.mark.parametrize(
    "case",
    [make_case(), make_case(label="normal", probability=0.0), make_case(foreign=True), UNREADABLE],
    ids=["pneumonia", "normal", "foreign", "unreadable"],
)
def test_the_bundle_is_valid_and_its_references_lead_to_its_entries(case, reports, study):
    bundle = case_bundle(case, ALGORITHM, issued=MADE, study=study, reports=reports)
    assert json.loads(json.dumps(bundle)) == bundle
    Bundle.model_validate(bundle)
    addresses = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(addresses)) == len(addresses) == 2 + max(1, len(reports))
    for report in resources(bundle, "DiagnosticReport"):
        contained = {f"#{each['id']}" for each in report.get("contained", [])}
        assert {each["reference"] for each in report["result"]} <= {*addresses, *contained}
        assert report["study"] == [{"reference": addresses[0]}]
    for resource in (bundle, *(entry["resource"] for entry in bundle["entry"])):
        assert resource["meta"]["tag"][0]["code"] == "HTEST"


def test_the_validator_can_refuse():
    bundle = case_bundle(make_case(), ALGORITHM, issued=MADE)
    resources(bundle, "Observation")[0]["valueQuantity"] = "high"
    with pytest.raises(ValueError, match="validation error"):
        Bundle.model_validate(bundle)


def test_a_case_that_counts_has_its_probability_and_what_it_means():
    (observation,) = resources(case_bundle(make_case(), ALGORITHM, issued=MADE), "Observation")
    assert observation["valueQuantity"] == {"value": 0.8313, "system": "http://unitsofmeasure.org", "code": "1"}
    assert observation["interpretation"][0]["coding"][0]["code"] == "POS"
    assert "dataAbsentReason" not in observation
    assert [part.get("valueString") for part in observation["component"]][1:3] == ["pneumonia", "normal, pneumonia"]
    assert observation["note"][0]["text"].startswith("Research use only")
    (negative,) = resources(case_bundle(make_case(label="normal"), ALGORITHM, issued=MADE), "Observation")
    assert negative["interpretation"][0]["coding"][0]["code"] == "NEG"


@pytest.mark.parametrize(("case", "code"), [(make_case(foreign=True), "not-applicable"), (UNREADABLE, "error")])
def test_a_case_that_does_not_count_has_a_reason_and_no_figure(case, code):
    bundle = case_bundle(case, ALGORITHM, issued=MADE, reports=[make_report()] if case.foreign else ())
    (observation,), (report,) = resources(bundle, "Observation"), resources(bundle, "DiagnosticReport")
    assert report["note"][0]["text"].startswith("No ")
    assert observation["dataAbsentReason"]["coding"][0]["code"] == code
    assert not {"valueQuantity", "interpretation", "component"} & observation.keys()
    assert "conclusionCode" not in report
    assert "0.83" not in json.dumps(bundle)


def test_a_study_is_named_only_where_there_is_one():
    (study,) = resources(case_bundle(make_case(), ALGORITHM, issued=MADE, study=STUDY), "ImagingStudy")
    assert study["identifier"] == [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}]
    (study,) = resources(case_bundle(make_case(), ALGORITHM, issued=MADE), "ImagingStudy")
    assert "identifier" not in study


def test_the_subject_is_the_case_and_the_name_of_the_file_is_not_told():
    bundle = case_bundle(make_case(name="DOE^JANE.dcm"), ALGORITHM, issued=MADE, reports=[make_report()])
    text = json.dumps(bundle)
    assert "DOE" not in text
    assert "pneumoniamnist 28209eda test 7" not in json.dumps(
        [r["subject"] for r in resources(bundle, "DiagnosticReport")]
    )
    assert {entry["resource"]["subject"]["identifier"]["value"] for entry in bundle["entry"]} == {"case 1f1f1f1f1f1f"}


def test_the_same_case_has_the_same_addresses_and_another_classifier_others():
    first, again = (case_bundle(make_case(), ALGORITHM, issued=MADE) for _ in range(2))
    assert first == again
    other = case_bundle(make_case(), ALGORITHM.model_copy(update={"classifier_sha256": "cd" * 32}), issued=MADE)
    assert not {e["fullUrl"] for e in first["entry"]} & {e["fullUrl"] for e in other["entry"]}


def test_classes_of_another_dataset_are_text():
    algorithm = ALGORITHM.model_copy(update={"classes": ("benign", "malignant"), "phantoms": True})
    case = make_case(label="malignant")
    bundle = case_bundle(case, algorithm, issued=MADE)
    Bundle.model_validate(bundle)
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["conclusionCode"] == [{"text": "malignant"}]
    assert [note["text"].replace("\\", "") for note in report["note"]] == [PHANTOM_NOTICE, RESEARCH_NOTICE]


def test_the_time_needs_a_zone():
    with pytest.raises(ValueError, match="time zone"):
        case_bundle(make_case(), ALGORITHM, issued=datetime(2026, 1, 1))
