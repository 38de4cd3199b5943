"""A case as FHIR R5 resources, for systems that read these.

A `Bundle` holds the study, the probability and the reports. Of a person nothing is told: the subject is the case, and
the study goes by its identifier, which is no name. A picture that does not count has no value but the reason why
(`dataAbsentReason`), so that no system can take a figure for what it is not.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models.markdown import escape
from models.report_generation.fhir import (
    CHEST_RADIOGRAPH,
    HL7,
    IMAGING,
    RADIOLOGY,
    TEST_DATA,
    conclusion,
    diagnostic_report,
    instant,
    patient_called,
)
from models.report_generation.schema import Report
from tasks.cases.algorithm import NAME, Algorithm
from tasks.cases.case import Case, Classification
from tasks.cases.export_wording import notices, result

_UCUM = "http://unitsofmeasure.org"
_INTERPRETATION = f"{HL7}/v3-ObservationInterpretation"
_ABSENT = f"{HL7}/data-absent-reason"


def case_bundle(
    case: Case, algorithm: Algorithm, *, issued: datetime, study: str | None = None, reports: Sequence[Report] = ()
) -> dict[str, Any]:
    """Write a case as a FHIR R5 `Bundle` of type collection.

    Args:
        case: the case.
        algorithm: what it was computed with.
        issued: when the results were made available, with a time zone.
        study: UID of the DICOM study that the picture belongs to, or None for a picture that is no DICOM file.
        reports: written about the picture; without any, the `DiagnosticReport` says what the classifier does.

    Returns:
        The resource as JSON values: an `ImagingStudy`, an `Observation` of the probability, and a `DiagnosticReport`
        for each report.

    Raises:
        ValueError: `issued` has no time zone.

    Source: https://hl7.org/fhir/R5/bundle.html
    """
    subject = f"case {case.short_name}"
    studied, observed = _address(case, algorithm, "study"), _address(case, algorithm, "observation")
    written = [diagnostic_report(report, issued=issued, subject=subject) for report in reports] or [
        _plain_report(case, algorithm, subject, issued)
    ]
    for report in written:
        report["study"] = [{"reference": studied}]
        report["result"] = [{"reference": observed}, *report.get("result", [])]
        if not case.counts:  # a machine reads the code and not the reason
            report.pop("conclusionCode", None)
            report["note"] = [{"text": escape(result(case, algorithm))}, *report["note"]]
    resources = {
        studied: _imaging_study(case, subject, study),
        observed: _observation(case, algorithm, subject, studied, issued),
        **{_address(case, algorithm, f"report {number}"): report for number, report in enumerate(written)},
    }
    return {
        "resourceType": "Bundle",
        "meta": {"tag": [TEST_DATA]},
        "identifier": {"system": "urn:ietf:rfc:3986", "value": _address(case, algorithm, "bundle")},
        "type": "collection",
        "timestamp": instant(issued),
        "entry": [{"fullUrl": address, "resource": resource} for address, resource in resources.items()],
    }


def _address(case: Case, algorithm: Algorithm, what: str) -> str:
    """Address of a resource, the same whenever the same case is written."""
    words = ":".join((NAME, case.digest, algorithm.classifier_sha256, algorithm.version, what))
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, words)}"


def _imaging_study(case: Case, subject: str, study: str | None) -> dict[str, Any]:
    named = {"identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}]} if study else {}
    return {
        "resourceType": "ImagingStudy",
        "meta": {"tag": [TEST_DATA]},
        **named,
        "status": "available",
        "subject": patient_called(subject),
        "note": [{"text": f"SHA-256 of the picture's file: {case.digest}."}],
    }


def _observation(case: Case, algorithm: Algorithm, subject: str, studied: str, issued: datetime) -> dict[str, Any]:
    label = algorithm.classes[1]
    value: dict[str, Any]
    if case.counts and case.classification is not None:
        value = _value(case.classification, label)
    else:
        code = "not-applicable" if case.foreign else "error"
        value = {"dataAbsentReason": {"coding": [{"system": _ABSENT, "code": code}], "text": result(case, algorithm)}}
    device = f"{NAME} {algorithm.version}, classifier {algorithm.classifier_sha256[:12]}"
    return {
        "resourceType": "Observation",
        "meta": {"tag": [TEST_DATA]},
        "status": "preliminary",
        "category": [{"coding": [IMAGING]}],
        "code": {"text": f"Calibrated probability of {label}"},
        "subject": patient_called(subject),
        "issued": instant(issued),
        **value,
        "note": [{"text": escape(text)} for text in (*notices(algorithm), result(case, algorithm))],
        "device": {"type": "Device", "identifier": {"value": algorithm.classifier_sha256}, "display": device},
        "derivedFrom": [{"reference": studied}],
    }


def _value(found: Classification, label: str) -> dict[str, Any]:
    assert found.threshold is not None  # of more than two classes none is written
    positive = found.label == label
    coding = {"system": _INTERPRETATION, "code": "POS" if positive else "NEG"}
    sets = [
        {
            "code": {"text": f"Conformal set with {100 * float(coverage):g} % coverage"},
            "valueString": ", ".join(members) or "no class",
        }
        for coverage, members in sorted(found.sets.items())
    ]
    seen = found.reliability
    share = f"{seen.share:.3f} (95 % interval {seen.share_low:.3f} to {seen.share_high:.3f}, {seen.images} images)"
    return {
        "valueQuantity": _share(found.probability),
        "interpretation": [{"coding": [coding], "text": f"Predicted class: {found.label}"}],
        "component": [
            {
                "code": {"text": f"Probability from which {label} is predicted"},
                "valueQuantity": _share(found.threshold),
            },
            *sets,
            {
                "code": {"text": f"Share of {label} among validation images with about this probability"},
                "valueString": share,
            },
        ],
    }


def _share(value: float) -> dict[str, Any]:
    return {"value": round(value, 4), "system": _UCUM, "code": "1"}


def _plain_report(case: Case, algorithm: Algorithm, subject: str, issued: datetime) -> dict[str, Any]:
    """What the classifier says, where nobody has written a report."""
    coded = {}
    if case.counts and case.classification is not None:
        coded = {"conclusionCode": [conclusion(case.classification.label)]}
    return {
        "resourceType": "DiagnosticReport",
        "meta": {"tag": [TEST_DATA]},
        "status": "preliminary",
        "category": [{"coding": [RADIOLOGY]}],
        "code": {"coding": [CHEST_RADIOGRAPH], "text": "Chest radiograph"},
        "subject": patient_called(subject),
        "issued": instant(issued),
        "note": [{"text": escape(text)} for text in notices(algorithm)],
        "conclusion": escape(result(case, algorithm)),
        **coded,
    }
