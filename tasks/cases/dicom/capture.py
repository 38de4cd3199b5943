"""A case's picture with its heat map as a DICOM secondary capture, which goes back into the study it came from."""

import textwrap
from datetime import datetime

import numpy as np
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from tasks.cases.algorithm import NAME, Algorithm
from tasks.cases.case import Case
from tasks.cases.dicom import coding
from tasks.cases.dicom.identity import object_uid, series_uid
from tasks.cases.dicom.source import Reference, origin
from tasks.cases.dicom.writing import as_file
from tasks.cases.export_wording import MANUFACTURER, SERIES_DESCRIPTION, notices, result

_SERIES_NUMBER = 9902
_LEAST_WIDTH = 512  # pixels; on less no sentence can be read
_MOST_ENLARGED = 4096  # pixels of the longer side


def capture(
    source: Dataset | None, picture: NDArray[np.uint8], case: Case, algorithm: Algorithm, *, made: datetime
) -> bytes:
    """Write a picture with its heat map as a secondary capture.

    Below the picture stand the notices and the result, burned in. A narrow picture is enlarged by a whole factor, so
    that these can be read. Identifiers are made as those of the structured report.

    Args:
        source: header of the picture's file, or None for a picture that is no DICOM file: a study of its own is made.
        picture: with the heat map over it, red, green and blue, shape (height, width, 3).
        case: the case.
        algorithm: what it was computed with.
        made: when, in the time of the place.

    Returns:
        A DICOM file. It names the patient as the source does.
    """
    place = origin(source, case.digest)
    uid = object_uid("capture", place, case, algorithm)
    sentences = [coding.ascii_text(each) for each in (*notices(algorithm), result(case, algorithm))]
    image = SCImage(
        pixel_array=_with_words(picture, sentences),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # what it is follows below; highdicom takes none that is unknown
        study_instance_uid=place.study,
        series_instance_uid=series_uid(uid),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=NAME,
        software_versions=algorithm.version[:64],
        series_description=SERIES_DESCRIPTION,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    image["PixelData"].VR = "OB"  # of 8 bits; pydicom leaves it open until it writes what it has taken apart
    image.Laterality = ""  # a chest has two sides, and the standard asks for the element
    image.PatientOrientation = list(place.orientation)
    image.ConversionType = "WSD"
    image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = DA(made.date()), TM(made.time().replace(microsecond=0))
    image.BurnedInAnnotation = "YES"
    image.LossyImageCompression = "01" if place.lossy else "00"
    image.ImageComments = coding.ascii_text(" ".join(notices(algorithm)))
    image.DerivationDescription = (
        f"Heat map of classifier {algorithm.classifier_sha256[:12]}, {NAME} {algorithm.version[:32]}, over the picture"
    )
    if place.picture is not None:
        image.SourceImageSequence = [_reference(place.picture)]
    return as_file(image, source, made)


def _reference(picture: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = picture.sop_class, picture.instance
    if picture.frame is not None:
        item.ReferencedFrameNumber = picture.frame
    item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(coding.SOURCE_IMAGE)]
    return item


def _with_words(picture: NDArray[np.uint8], sentences: list[str]) -> NDArray[np.uint8]:
    """Put a band with sentences below a picture."""
    height, width = picture.shape[:2]
    factor = max(1, min(-(-_LEAST_WIDTH // width), _MOST_ENLARGED // max(height, width)))
    enlarged = Image.fromarray(picture)
    if factor > 1:
        enlarged = enlarged.resize((factor * width, factor * height), Image.Resampling.NEAREST)
    height, width = enlarged.height, max(enlarged.width, _LEAST_WIDTH)
    size = max(14, width // 48)  # of the letters, in pixels
    font = ImageFont.load_default(size)
    columns = max(20, int(width / (0.55 * size)))
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, columns)]
    canvas = Image.new("RGB", (width, height + int((len(lines) + 1) * 1.3 * size)))
    canvas.paste(enlarged)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        place = (size // 2, height + int((number * 1.3 + 0.5) * size))
        draw.text(place, line, fill="white", font=font)
    return np.asarray(canvas)
