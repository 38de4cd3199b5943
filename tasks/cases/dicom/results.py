"""What goes back to other systems: DICOM objects and a FHIR bundle of each case.

The DICOM objects name the patient as the picture's file does, so that they find their way back to its study. They go
from here into the files of the run and, where it is asked for, to the archive; nothing else is told what they hold.
"""

import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydicom import Dataset

from tasks.cases import sources
from tasks.cases.algorithm import Algorithm
from tasks.cases.dicom.capture import capture
from tasks.cases.dicom.source import origin, read_source
from tasks.cases.dicom.structured_report import structured_report
from tasks.cases.fhir import case_bundle
from tasks.cases.heat_overlay import heat_overlay
from tasks.cases.pages import CaseView
from tasks.records.cases import PictureFile


def read_header(file: PictureFile) -> Dataset | None:
    """Read the header of a picture's file; None where it is no DICOM file.

    Raises:
        InputError: the file is gone, or its header is damaged.
    """
    return read_source(io.BytesIO(sources.read(file)), file.name)


def dicom_results(
    source: Dataset | None, view: CaseView, algorithm: Algorithm, *, made: datetime
) -> Iterator[tuple[str, bytes]]:
    """Write the structured report of a case, and the capture of its picture with the heat map of its class.

    Args:
        source: header of the picture's file; None for a picture that is no DICOM file, which gets a study of its own.
        view: what is shown of the case.
        algorithm: what it was computed with.
        made: when, in the time of the place.

    Yields:
        File name and content of each.
    """
    case = view.case
    yield f"{case.short_name}-report.dcm", structured_report(source, case, algorithm, made=made)
    said = case.classification.label if case.classification else algorithm.classes[1]
    overlay = heat_overlay(view.picture, view.heat[said])
    yield f"{case.short_name}-capture.dcm", capture(source, overlay, case, algorithm, made=made)


def fhir_result(source: Dataset | None, view: CaseView, algorithm: Algorithm, *, made: datetime) -> dict[str, Any]:
    """Write a case as a FHIR bundle, which names the study and no patient.

    Args:
        source: as for `dicom_results`.
        view: what is shown of the case.
        algorithm: what it was computed with.
        made: when, in the time of the place.

    Returns:
        The resource as JSON values.
    """
    study = None if source is None else origin(source, view.case.digest).study
    reports = [answer.report for answer in view.answers if answer.report]
    return case_bundle(view.case, algorithm, issued=made, study=study, reports=reports)
