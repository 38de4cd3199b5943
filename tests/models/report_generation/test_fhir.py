import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fhir.resources.diagnosticreport import DiagnosticReport
from fhir.resources.observation import Observation

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.fhir import diagnostic_report
from models.report_generation.schema import Finding, Provenance, Report

SOURCE = {
    "generator": "medgemma",
    "version": "3",
    "strategy": "structured",
    "model": "some/model",
    "revision": "0a1b2c",
    "precision": "nf4",
    "language_model": True,
    "dataset": "pneumoniamnist 28209eda",
    "classifier_sha256": "f" * 64,
    "phantoms": False,
}


def make_report(source: dict | None = None, **changes) -> Report:
    fields = {
        "case_index": 7,
        "findings": (
            Finding(name="opacity", presence="present", detail="Hazy centre."),
            Finding(name="heart size", presence="not assessable", detail=""),
        ),
        "impression": "Pneumonia is probable.",
        "differential": ("atelectasis", "bronchiolitis"),
        "label": "pneumonia",
        "certainty": "moderate",
        "image_quality": "limited",
        "limitations": (RESEARCH_NOTICE, "Small image."),
        "provenance": Provenance(**(SOURCE | (source or {}))),
    }
    return Report(**(fields | changes))


BARE = {
    "findings": (), "impression": " ", "differential": (), "label": None, "certainty": "", "image_quality": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ({}, {}),
        ({}, {"label": "normal"}),
        ({}, BARE),
        ({"random_weights": True, "phantoms": True}, {}),
        ({"generator": "template", "language_model": False, "model": None, "revision": None, "precision": None}, {}),
    ],
)
def test_the_resource_is_valid_and_survives_json(source: dict, changes: dict):
    resource = diagnostic_report(make_report(source, **changes), issued=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert json.loads(json.dumps(resource)) == resource
    DiagnosticReport.model_validate(resource)
    for observation in resource.get("contained", []):
        Observation.model_validate(observation)


@pytest.mark.parametrize("changes", [{}, BARE])
def test_no_value_is_empty(changes: dict):
    def check(value: object):
        assert value not in ("", [], {}, None)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(part)

    check(diagnostic_report(make_report(**changes)))


def test_the_report_is_told_in_fhir_terms():
    resource = diagnostic_report(make_report())
    assert resource["resourceType"] == "DiagnosticReport"
    assert resource["status"] == "preliminary"
    assert resource["category"][0]["coding"][0]["code"] == "RAD"
    assert [coding["code"] for coding in resource["code"]["coding"]] == ["36554-4"]
    assert resource["conclusion"] == "Pneumonia is probable."
    assert resource["conclusionCode"][0]["coding"][0] == {
        "system": "http://snomed.info/sct",
        "code": "233604007",
        "display": "Pneumonia",
    }
    assert "resultsInterpreter" not in resource
    assert "performer" not in resource
    assert "issued" not in resource


def test_a_normal_label_is_coded_and_none_is_not():
    assert diagnostic_report(make_report(label="normal"))["conclusionCode"][0]["coding"][0]["code"] == "17621005"
    assert "conclusionCode" not in diagnostic_report(make_report(label=None))


def test_findings_are_contained_observations_that_the_results_point_to():
    resource = diagnostic_report(make_report())
    opacity, heart = resource["contained"]
    assert [result["reference"] for result in resource["result"]] == [f"#{opacity['id']}", f"#{heart['id']}"]
    assert opacity["id"] != heart["id"]
    assert [o["status"] for o in (opacity, heart)] == ["preliminary", "preliminary"]
    assert (opacity["code"]["text"], opacity["valueCodeableConcept"]["text"]) == ("opacity", "present")
    assert opacity["note"] == [{"text": "Hazy centre."}]
    assert (heart["code"]["text"], heart["valueCodeableConcept"]["text"]) == ("heart size", "not assessable")
    assert "note" not in heart
    assert opacity["subject"] == heart["subject"] == resource["subject"]


def test_the_subject_is_a_position_and_no_person():
    assert diagnostic_report(make_report())["subject"] == {
        "type": "Patient",
        "identifier": {"value": "pneumoniamnist 28209eda test 7"},
        "display": "pneumoniamnist 28209eda test 7",
    }


def test_notes_tell_the_notices_limitations_and_provenance_once():
    notes = [note["text"] for note in diagnostic_report(make_report())["note"]]
    assert notes[:2] == [RESEARCH_NOTICE, "Small image."]
    assert notes.count(RESEARCH_NOTICE) == 1
    assert "Certainty: moderate." in notes
    assert "Image quality: limited" in notes
    assert "Differential: atelectasis; bronchiolitis." in notes
    for part in ("medgemma 3", "strategy structured", "some/model, revision 0a1b2c, nf4", "28209eda", "f" * 64):
        assert part in notes[-1]


def test_random_weights_and_phantoms_are_named_first_and_random_labels_are_not_coded():
    resource = diagnostic_report(make_report({"random_weights": True, "phantoms": True}))
    assert [note["text"] for note in resource["note"][:3]] == [RANDOM_WEIGHTS_NOTICE, PHANTOM_NOTICE, RESEARCH_NOTICE]
    assert "conclusionCode" not in resource
    assert "conclusionCode" in diagnostic_report(make_report({"phantoms": True}))


def test_every_resource_is_marked_as_test_data():
    assert diagnostic_report(make_report())["meta"]["tag"][0]["code"] == "HTEST"


def test_the_markdown_is_attached():
    report = make_report()
    (form,) = diagnostic_report(report)["presentedForm"]
    assert form["contentType"] == "text/markdown"
    assert base64.b64decode(form["data"]).decode() == report.as_markdown()


def test_the_time_of_issue_keeps_its_zone():
    issued = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
    resource = diagnostic_report(make_report(), issued=issued)
    assert resource["issued"] == "2026-03-01T12:30:15.123+02:00"
    parsed = DiagnosticReport.model_validate(resource).issued
    assert parsed is not None
    assert abs(parsed - issued) < timedelta(milliseconds=1)
    with pytest.raises(ValueError, match="time zone"):
        diagnostic_report(make_report(), issued=datetime(2026, 3, 1))


def test_the_validator_can_refuse():
    resource = diagnostic_report(make_report())
    for change in ({"status": None}, {"mood": "good"}, {"contained": [{"resourceType": "Observation"}]}):
        with pytest.raises(ValueError, match="validation error"):
            DiagnosticReport.model_validate(resource | change)


def test_a_class_of_another_dataset_is_told_as_text():
    resource = diagnostic_report(make_report(label="malignant"))
    assert resource["conclusionCode"] == [{"text": "malignant"}]
    DiagnosticReport.model_validate(resource)


def test_a_picture_of_ones_own_goes_by_its_name():
    resource = diagnostic_report(make_report(), subject="case 0a1b")
    assert {each["subject"]["display"] for each in (resource, *resource["contained"])} == {"case 0a1b"}
