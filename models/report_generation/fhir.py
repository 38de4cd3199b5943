"""Reports as FHIR R5 resources, for tools that read clinical formats.

Codes are taken from the published terminologies and only where they say what is known:

- LOINC 36554-4 "XR Chest Single view": the pictures are single frontal views, and whether an X-ray passed from front to
  back is not recorded for each, so that the codes for one projection (36572-6, AP) or for two views (36643-5) would
  claim too much.
- SNOMED CT 233604007 |Pneumonia| and 17621005 |Normal| for the label. A report by random weights gets no such code,
  since a machine reads the code and not the notice.
- Presence stays text: "not assessable" has no code of its own there.

Notes and the conclusion are Markdown by the standard, so the report's words are escaped in them.

The resource is tagged as test data (HTEST), and its status is `preliminary`, because no radiologist has seen it.
"""

import base64
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from models.markdown import escape
from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.schema import Finding, Label, Report

HL7 = "http://terminology.hl7.org/CodeSystem"
TEST_DATA = {"system": f"{HL7}/v3-ActReason", "code": "HTEST", "display": "test health data"}
RADIOLOGY = {"system": f"{HL7}/v2-0074", "code": "RAD", "display": "Radiology"}
IMAGING = {"system": f"{HL7}/observation-category", "code": "imaging", "display": "Imaging"}
CHEST_RADIOGRAPH = {"system": "http://loinc.org", "code": "36554-4", "display": "XR Chest Single view"}
_CONCLUSIONS: dict[Label, dict[str, str]] = {
    "pneumonia": {"system": "http://snomed.info/sct", "code": "233604007", "display": "Pneumonia"},
    "normal": {"system": "http://snomed.info/sct", "code": "17621005", "display": "Normal"},
}


def diagnostic_report(report: Report, *, issued: datetime | None = None, subject: str | None = None) -> dict[str, Any]:
    """Write a report as a FHIR R5 `DiagnosticReport`.

    Args:
        report: the report.
        issued: when it was made available, with a time zone, or None to leave that out.
        subject: what the picture is called, or None for its position in the dataset; nothing is told of a person.

    Returns:
        The resource as JSON values: findings as contained observations, the whole as attached Markdown, and the
        notices, limitations and provenance as notes.

    Raises:
        ValueError: `issued` has no time zone.

    Source: https://hl7.org/fhir/R5/diagnosticreport.html
    """
    patient = patient_called(subject or f"{report.provenance.dataset} test {report.case_index}")
    observations = [_observation(i, finding, patient) for i, finding in enumerate(report.findings, start=1)]
    resource = {
        "resourceType": "DiagnosticReport",
        "meta": {"tag": [TEST_DATA]},
        "contained": observations,
        "status": "preliminary",
        "category": [{"coding": [RADIOLOGY]}],
        "code": {"coding": [CHEST_RADIOGRAPH], "text": "Frontal chest radiograph of a child"},
        "subject": patient,
        "issued": instant(issued) if issued else None,
        "result": [{"reference": f"#{observation['id']}"} for observation in observations],
        "note": [{"text": escape(text)} for text in _notes(report)],
        "conclusion": escape(report.impression),
        "conclusionCode": _conclusion_codes(report),
        "presentedForm": [_markdown(report)],
    }
    return {name: value for name, value in resource.items() if value}  # FHIR knows no empty values


def diagnostic_reports(reports: Iterable[Report]) -> str:
    """Write reports as newline-delimited JSON, one FHIR resource per line."""
    return "\n".join(json.dumps(diagnostic_report(report)) for report in reports)


def instant(time: datetime) -> str:
    """Write a time as FHIR does.

    Raises:
        ValueError: it has no time zone.
    """
    if time.tzinfo is None:
        raise ValueError("the time of issue needs a time zone")
    return time.isoformat(timespec="milliseconds")


def patient_called(name: str) -> dict[str, Any]:
    """Refer to the person on a picture, of whom nothing is told, by what the picture is called."""
    return {"type": "Patient", "identifier": {"value": name}, "display": name}


def conclusion(label: Label) -> dict[str, Any]:
    """Write a class as a concept: with the code of SNOMED CT where it is one of chest X-rays, else as text."""
    return {"coding": [_CONCLUSIONS[label]]} if label in _CONCLUSIONS else {"text": label}


def _conclusion_codes(report: Report) -> list[dict[str, Any]]:
    return [] if report.label is None or report.provenance.random_weights else [conclusion(report.label)]


def _observation(number: int, finding: Finding, subject: dict[str, Any]) -> dict[str, Any]:
    note = {"note": [{"text": escape(finding.detail)}]} if finding.detail.strip() else {}
    return {
        "resourceType": "Observation",
        "id": f"finding-{number}",
        "status": "preliminary",
        "category": [{"coding": [IMAGING]}],
        "code": {"text": finding.name},
        "subject": subject,
        "valueCodeableConcept": {"text": finding.presence},
        **note,
    }


def _notes(report: Report) -> list[str]:
    """Put the notices first, each sentence once."""
    source = report.provenance
    model = source.weights if source.language_model else "none"
    notes = [
        RANDOM_WEIGHTS_NOTICE if source.random_weights else "",
        PHANTOM_NOTICE if source.phantoms else "",
        RESEARCH_NOTICE,
        *report.limitations,
        f"Label: {report.label or 'none'}.",
        f"Certainty: {report.certainty}." if report.certainty else "",
        f"Image quality: {report.image_quality}" if report.image_quality else "",
        f"Differential: {'; '.join(report.differential)}." if report.differential else "",
        f"Written by {source.generator} {source.version}, strategy {source.strategy}; language model: {model}; "
        f"dataset: {source.dataset}; classifier: {source.classifier_sha256}.",
    ]
    return [note for note in dict.fromkeys(notes) if note.strip()]


def _markdown(report: Report) -> dict[str, str]:
    data = base64.b64encode(report.as_markdown().encode()).decode()
    return {"contentType": "text/markdown", "language": "en", "data": data, "title": f"Case {report.case_index}"}
