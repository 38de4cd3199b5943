"""The DICOM file that a case comes from: which study it belongs to, and of whom it is.

Names and numbers of the patient stay bytes: they go from one header into another as they are, in the character set
that the file names, and are never decoded, shown or logged. Only so what belongs together stays together in an archive,
also where a name is in a script that the file does not declare.
"""

import logging
import re
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom import Dataset, uid
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import Tag

from models.errors import InputError
from models.text import printable
from tasks.data.pictures.dicom_file import read_header
from tasks.data.pictures.picture_content import BEGINNING, is_dicom

_LONGEST_TEXT = 1024  # bytes; a name has up to 3 x 64 characters, and a damaged length swallows what follows
_TEXTS = {
    "PatientName": "PN",
    "PatientID": "LO",
    "IssuerOfPatientID": "LO",
    "AccessionNumber": "SH",
    "StudyID": "SH",
    "StudyDescription": "LO",
    "ReferringPhysicianName": "PN",
}
_DATE = ("DA", re.compile(rb"(\d{4})[-.]?(\d\d)[-.]?(\d\d)"))
_TIME = ("TM", re.compile(rb"(\d\d):?(?:(\d\d):?(?:(\d\d(?:\.\d{1,6})?))?)?"))
_STRICT = {
    "PatientBirthDate": _DATE,
    "PatientSex": ("CS", re.compile(rb"([MFO])")),
    "StudyDate": _DATE,
    "StudyTime": _TIME,
}
_OPTIONAL = ("IssuerOfPatientID", "StudyDescription")  # which the standard does not ask for, not even empty
_CONTROLS = bytes(code for code in range(32) if code != 0x1B)  # the escape switches character sets
_CHARACTER_SET = re.compile(rb"(ISO[ _-]?IR[ _-]?\d{1,3}|ISO 2022 IR \d{1,3}|GB18030|GBK)?", re.ASCII)
_UID = re.compile(r"\d+(\.\d+)+")
_ORIENTATION = re.compile(r"[APRLFH]{1,3}")
_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.JPEG2000MC)
# Kinds whose files have one frame, whatever they say: of these no frame may be named.
_SINGLE_FRAME = frozenset(
    (
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.DigitalXRayImageStorageForProcessing,
        uid.SecondaryCaptureImageStorage,
        uid.CTImageStorage,
        uid.MRImageStorage,
    )
)


@dataclass(frozen=True)
class Reference:
    """How another object names a picture.

    Attributes:
        series: UID of its series.
        instance: UID of the picture.
        sop_class: UID of its kind.
        frame: number of the frame that is meant, or None where there is one only.
    """

    series: str
    instance: str
    sop_class: str
    frame: int | None


@dataclass(frozen=True)
class Origin:
    """Where a picture comes from, in identifiers, of which none is a name.

    Attributes:
        study: UID of its study; made from the file's digest where it has none.
        picture: how it is referred to; None where it is no DICOM file, or one without these identifiers.
        orientation: where its rows and its columns run in the patient; empty where that is not said.
        lossy: whether it was compressed with loss.
        dicom: whether the picture came in a DICOM file.
    """

    study: str
    picture: Reference | None = None
    orientation: tuple[str, ...] = ()
    lossy: bool = False
    dicom: bool = False


def read_source(file: BinaryIO, name: str) -> Dataset | None:
    """Read the header of a picture's file.

    Args:
        file: positioned at the beginning.
        name: what a message calls the file.

    Returns:
        Its elements up to the pixels, or None where it is no DICOM file.

    Raises:
        InputError: it is one, but damaged.
    """
    beginning = file.read(BEGINNING)
    file.seek(0)
    if not is_dicom(beginning):
        return None
    # What pydicom says of a damaged header may quote it.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    try:
        return read_header(file)
    except Exception:
        raise InputError(
            f"{printable(name)} has a damaged DICOM header: one that names its study was expected, so that results can "
            "go back to it; export it again, or ask for no DICOM results."
        ) from None


def origin(source: Dataset | None, digest: str) -> Origin:
    """Find out what a picture's header says of where it comes from.

    Args:
        source: the header, or None for a picture that is no DICOM file.
        digest: SHA-256 of the file, of which missing identifiers are made, always the same.

    Returns:
        What it says; identifiers that are none are left out.
    """
    if source is None:
        return Origin(study=made_uid("study", digest))
    meta = getattr(source, "file_meta", Dataset())
    study = _text(source, "StudyInstanceUID")
    orientation = tuple(_text(source, "PatientOrientation").split("\\"))
    return Origin(
        study=_uid(study) or made_uid("study", study or digest),
        picture=_reference(source, meta),
        orientation=orientation if len(orientation) == 2 and all(map(_ORIENTATION.fullmatch, orientation)) else (),
        lossy=_text(source, "LossyImageCompression") == "01" or _text(meta, "TransferSyntaxUID") in _LOSSY,
        dicom=True,
    )


def _reference(source: Dataset, meta: Dataset) -> Reference | None:
    series = _uid(_text(source, "SeriesInstanceUID"))
    instance = _uid(_text(source, "SOPInstanceUID") or _text(meta, "MediaStorageSOPInstanceUID"))
    sop_class = _uid(_text(source, "SOPClassUID") or _text(meta, "MediaStorageSOPClassUID"))
    if series is None or instance is None or sop_class is None:
        return None
    several = _text(source, "NumberOfFrames") not in ("", "0", "1") and sop_class not in _SINGLE_FRAME
    return Reference(series, instance, sop_class, 1 if several else None)


def made_uid(*words: str) -> str:
    """Make an identifier of words, always the same for the same words.

    Args:
        words: what it stands for.

    Returns:
        A UID below pydicom's root, of 64 characters at most.
    """
    return str(uid.generate_uid(entropy_srcs=["pneumonia workflow", *(f"{len(word)}:{word}" for word in words)]))


def carry_patient_over(source: Dataset | None, target: Dataset) -> None:
    """Write who the patient is, and which study it is, into an object that is about to be written.

    Texts go over byte by byte; dates, times and the sex only where they are such. Nothing of it is decoded.

    Args:
        source: header of the picture's file; None leaves the patient empty.
        target: the object. Its own texts must be ASCII, which every character set can tell.
    """
    values = {name: (vr, b"") for name, vr in _TEXTS.items() if name not in _OPTIONAL}
    values |= {name: (vr, b"") for name, (vr, _) in _STRICT.items()}
    encodings: str | list[str] = default_encoding
    if source is not None:
        for name, vr in _TEXTS.items():
            if value := _bytes(source, name).translate(None, _CONTROLS):
                values[name] = (vr, value)
        for name, (vr, pattern) in _STRICT.items():
            if found := pattern.fullmatch(_bytes(source, name)):
                values[name] = (vr, b"".join(part for part in found.groups() if part))
        character_sets = _bytes(source, "SpecificCharacterSet").split(b"\\")
        if any(character_sets) and all(_CHARACTER_SET.fullmatch(each.strip()) for each in character_sets):
            target.SpecificCharacterSet = [each.strip().decode("ascii") for each in character_sets]
            encodings = convert_encodings(target.SpecificCharacterSet)
    for name, (vr, value) in values.items():
        tag = Tag(name)
        padded = value + b" " * (len(value) % 2)
        target[tag] = RawDataElement(tag, vr, len(padded), padded, 0, False, True)
    target.set_original_encoding(False, True, encodings)  # what pydicom takes as it is when it writes


def _bytes(dataset: Dataset, keyword: str) -> bytes:
    """An element's value as it lies in the file, without padding; empty where it is missing or no text."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return b""
    element: Any = dataset.get_item(tag, keep_deferred=True)
    if isinstance(element, RawDataElement):
        value = element.value if element.VR not in ("SQ", "OB", "OW", "OF", "OD", "OL", "OV") else b""
    else:  # which someone has taken apart, or made
        written = DicomBytesIO()
        written.is_little_endian, written.is_implicit_VR = True, True
        try:
            write_data_element(written, element, convert_encodings(dataset.get("SpecificCharacterSet")))
        except Exception:
            return b""
        value = written.getvalue()[8:]
    value = (value or b"").strip(b" \0")
    return value if len(value) <= _LONGEST_TEXT else b""


def _text(dataset: Dataset, keyword: str) -> str:
    return _bytes(dataset, keyword).decode("ascii", "replace")


def _uid(value: str) -> str | None:
    return value if _UID.fullmatch(value) and len(value) <= 64 else None
