"""A case as a DICOM structured report, which goes back into the study that the picture came from.

The report follows TID 1500 "Measurement Report" (PS3.16) as a Comprehensive SR, made with `highdicom`. Only a case that
counts has measurements and classes: of a foreign or unreadable picture a sentence says why there are none. No class
stands as a "Finding", which would be read as one whatever its probability.
"""

from datetime import datetime

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from tasks.cases.algorithm import NAME, Algorithm
from tasks.cases.case import Case
from tasks.cases.dicom import coding
from tasks.cases.dicom.identity import object_uid, series_uid
from tasks.cases.dicom.source import Origin, made_uid, origin
from tasks.cases.dicom.writing import as_file
from tasks.cases.export_wording import MANUFACTURER, SERIES_DESCRIPTION, notices, result

_SERIES_NUMBER = 9901


def structured_report(source: Dataset | None, case: Case, algorithm: Algorithm, *, made: datetime) -> bytes:
    """Write a case as a structured report (TID 1500, Comprehensive SR).

    The same case of the same picture, computed with the same classifier, gets the same identifiers, so that an archive
    that is sent it twice keeps it once.

    Args:
        source: header of the picture's file, or None for a picture that is no DICOM file: a study of its own is made.
        case: the case.
        algorithm: what it was computed with.
        made: when, in the time of the place.

    Returns:
        A DICOM file. It names the patient as the source does.
    """
    place = origin(source, case.digest)
    uid = object_uid("report", place, case, algorithm)
    report = ComprehensiveSR(
        evidence=[_evidence(place)],
        content=_content(place, case, algorithm)[0],
        series_instance_uid=series_uid(uid),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=NAME,
        software_versions=algorithm.version[:64],
        series_description=SERIES_DESCRIPTION,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[_scheme()],
    )
    if place.picture is not None:
        series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        series.ReferencedSOPSequence[0].ReferencedSOPClassUID = place.picture.sop_class
    else:
        del report.CurrentRequestedProcedureEvidenceSequence
    return as_file(report, source, made)


def _evidence(place: Origin) -> Dataset:
    """The picture as highdicom asks for it: with identifiers, without a patient, who is carried over at the end."""
    evidence = Dataset()
    evidence.StudyInstanceUID = place.study
    evidence.SeriesInstanceUID = place.picture.series if place.picture else made_uid("none")
    evidence.SOPInstanceUID = place.picture.instance if place.picture else made_uid("none")
    evidence.SOPClassUID = SecondaryCaptureImageStorage  # highdicom takes no kind that it does not know
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(evidence, name, "")
    evidence.StudyDate = evidence.StudyTime = None
    return evidence


def _content(place: Origin, case: Case, algorithm: Algorithm) -> MeasurementReport:
    classifier = algorithm.classifier_sha256
    device = DeviceObserverIdentifyingAttributes(
        uid=made_uid("device", classifier, algorithm.version),
        name=NAME,
        manufacturer_name=MANUFACTURER,
        model_name=f"classifier {classifier[:12]}",
        serial_number=classifier,
    )
    context = ObservationContext(
        observer_device_context=ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    )
    return MeasurementReport(
        observation_context=context,
        procedure_reported=coding.CHEST_RADIOGRAPH,
        imaging_measurements=[_group(place, case, algorithm)],
        title=codes.DCM.ImagingMeasurementReport,
    )


def _group(place: Origin, case: Case, algorithm: Algorithm) -> MeasurementsAndQualitativeEvaluations:
    images = []
    if (picture := place.picture) is not None:
        frames = [picture.frame] if picture.frame else None
        images = [SourceImageForMeasurementGroup(picture.sop_class, picture.instance, frames)]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=made_uid("tracking", case.digest), identifier=f"case {case.short_name}"
        ),
        algorithm_id=AlgorithmIdentification(
            name=NAME, version=algorithm.version, parameters=[f"classifier SHA-256 {algorithm.classifier_sha256}"]
        ),
        measurements=_measurements(case, algorithm.classes[1]),
        qualitative_evaluations=_evaluations(case, algorithm),
        source_images=images,
    )
    texts = [(coding.NOTICE, each) for each in notices(algorithm)]
    texts += [
        (coding.COMMENT, result(case, algorithm)),
        (coding.COMMENT, f"SHA-256 of the picture's file: {case.digest}."),
    ]
    for name, text in texts:
        item = TextContentItem(name, coding.ascii_text(text), RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(item)
    return group


def _measurements(case: Case, label: str) -> list[Measurement]:
    if not case.counts or case.classification is None:
        return []
    assert case.classification.threshold is not None  # of more than two classes none is written
    values = {
        coding.probability_code(label): case.classification.probability,
        coding.threshold_code(label): case.classification.threshold,
    }
    return [Measurement(name, round(value, 4), coding.NO_UNITS) for name, value in values.items()]


def _evaluations(case: Case, algorithm: Algorithm) -> list[QualitativeEvaluation]:
    evaluations = []
    if case.screening is not None:
        evaluations.append((coding.FOREIGN, coding.YES if case.foreign else coding.NO))
    if case.counts and case.classification is not None:
        found = case.classification
        evaluations.append((coding.PREDICTED_CLASS, coding.class_code(found.label, algorithm.classes)))
        for coverage, members in found.sets.items():
            values = [coding.class_code(each, algorithm.classes) for each in members] or [coding.NO_CLASS]
            evaluations += [(coding.set_code(coverage), value) for value in values]
    return [QualitativeEvaluation(name, value) for name, value in evaluations]


def _scheme() -> CodingSchemeIdentificationItem:
    return CodingSchemeIdentificationItem(
        designator=coding.SCHEME, name=coding.SCHEME_NAME, responsible_organization=NAME
    )
