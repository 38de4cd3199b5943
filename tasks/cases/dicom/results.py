"""The DICOM results of cases: for each a structured report and a capture of the picture with the heat map.

They name the patient as the picture's file does, so that they find their way back to its study. They go from here into
the files of the run and, where it is asked for, to the archive; nothing else is told what they hold.
"""

import io
from collections.abc import Iterator
from datetime import datetime

from tasks.cases import sources
from tasks.cases.algorithm import Algorithm
from tasks.cases.dicom.capture import capture
from tasks.cases.dicom.source import read_source
from tasks.cases.dicom.structured_report import structured_report
from tasks.cases.heat_overlay import heat_overlay
from tasks.cases.pages import CaseView
from tasks.records.cases import PictureFile


def dicom_results(
    file: PictureFile, view: CaseView, algorithm: Algorithm, *, made: datetime, others_too: bool
) -> Iterator[tuple[str, bytes]]:
    """Write the results of one case.

    Args:
        file: the picture's file.
        view: what is shown of the case.
        algorithm: what it was computed with.
        made: when, in the time of the place.
        others_too: whether a picture that is no DICOM file gets results as well, in a study of its own.

    Yields:
        File name and content of each; nothing of a picture that is no DICOM file, unless it is asked for.

    Raises:
        InputError: the file is gone, or its header is damaged.
    """
    source = read_source(io.BytesIO(sources.read(file)), file.name)
    if source is None and not others_too:
        return
    case = view.case
    yield f"{case.short_name}-report.dcm", structured_report(source, case, algorithm, made=made)
    said = case.classification.label if case.classification else algorithm.classes[1]
    overlay = heat_overlay(view.picture, view.heat[said])
    yield f"{case.short_name}-capture.dcm", capture(source, overlay, case, algorithm, made=made)
