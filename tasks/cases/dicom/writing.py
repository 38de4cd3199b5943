"""Finish a DICOM object and write it."""

import io
from datetime import datetime

from pydicom import Dataset

from tasks.cases.dicom.source import carry_patient_over


def as_file(target: Dataset, source: Dataset | None, made: datetime) -> bytes:
    """Write an object as a file of explicit little-endian elements.

    Args:
        target: the object, without a patient.
        source: header of the picture's file, whose patient and study it gets, or None.
        made: when it was made; of the clock nothing is taken, so that the same object is the same bytes.

    Returns:
        The file.
    """
    target.InstanceCreationDate = target.ContentDate = made.strftime("%Y%m%d")
    target.InstanceCreationTime = target.ContentTime = made.strftime("%H%M%S")
    for item in target.ContributingEquipmentSequence:
        item.ContributionDateTime = made.strftime("%Y%m%d%H%M%S")
    carry_patient_over(source, target)
    file = io.BytesIO()
    target.save_as(file, enforce_file_format=True)
    return file.getvalue()
