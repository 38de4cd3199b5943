"""What a DICOM file says of itself in terms of the standard, and nothing else of its header.

An element of coded values may hold any text all the same, a patient's name for instance. So a value is passed on only
where it is one of these terms.
"""

from collections.abc import Collection

import pydicom

OTHER = "other"
"""Stands for a value that is none of the terms."""

MODALITIES = {
    "CR": "computed radiography",
    "DX": "digital radiography",
    "RG": "radiographic imaging",
    "RF": "radiofluoroscopy",
    "XA": "X-ray angiography",
    "IO": "intra-oral radiography",
    "PX": "panoramic X-ray",
    "MG": "mammography",
    "BMD": "bone densitometry",
    "CT": "computed tomography",
    "MR": "magnetic resonance",
    "US": "ultrasound",
    "IVUS": "intravascular ultrasound",
    "NM": "nuclear medicine",
    "PT": "positron emission tomography",
    "ECG": "electrocardiography",
    "ES": "endoscopy",
    "GM": "general microscopy",
    "SM": "slide microscopy",
    "XC": "photography",
    "DMS": "dermoscopy",
    "OP": "ophthalmic photography",
    "OPT": "ophthalmic tomography",
    "OCT": "optical coherence tomography",
    "TG": "thermography",
    "RTIMAGE": "radiotherapy image",
    "RTDOSE": "radiotherapy dose",
    "SEG": "segmentation",
    "DOC": "document",
    "HC": "hard copy",
    "SC": "secondary capture",
    "OT": "other",
}
"""Terms for Modality (0008,0060) that pictures have, PS3.3 C.7.3.1.1.1, and retired ones that old files have."""

CHEST_PARTS = frozenset(
    {"CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "THORAX", "LUNG", "HEART", "MEDIASTINUM", "RIB", "STERNUM", "TRUNK"}
)
"""Terms for BodyPartExamined (0018,0015), PS3.16 annex L, of which a chest X-ray may be."""

OTHER_PARTS = frozenset(
    {
        "ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ARM", "BLADDER", "BRAIN", "BREAST", "CALCANEUS", "CALF", "CERVIX",
        "COCCYX", "COLON", "CSPINE", "EAR", "ELBOW", "EXTREMITY", "EYE", "FACE", "FEMUR", "FINGER", "FOOT", "FOREARM",
        "GALLBLADDER", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KIDNEY", "KNEE", "LEG", "LIVER", "LSPINE", "MANDIBLE",
        "MAXILLA", "NECK", "NOSE", "ORBIT", "PATELLA", "PELVIS", "PROSTATE", "RADIUS", "SACRUM", "SCAPULA",
        "SHOULDER", "SINUS", "SKULL", "SPINE", "SSPINE", "TEETH", "THIGH", "THUMB", "TIBIA", "TOE", "TOOTH", "ULNA",
        "UTERUS", "WRIST", "ZYGOMA",
    }
)  # fmt: skip
"""Terms of the same annex of which no chest X-ray is. Those that may be either (TSPINE, CLAVICLE) are `OTHER`."""


def modality(dataset: pydicom.Dataset) -> str:
    """Return its Modality: a key of `MODALITIES`, `OTHER`, or nothing where it is empty or absent."""
    return _term(dataset, "Modality", MODALITIES)


def body_part(dataset: pydicom.Dataset) -> str:
    """Return its BodyPartExamined: one of `CHEST_PARTS` and `OTHER_PARTS`, `OTHER`, or nothing where it is empty."""
    return _term(dataset, "BodyPartExamined", CHEST_PARTS | OTHER_PARTS)


def _term(dataset: pydicom.Dataset, keyword: str, terms: Collection[str]) -> str:
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom raises anything of a damaged element, which the picture does not need
        return OTHER
    if not value:
        return ""
    term = value.strip().upper() if isinstance(value, str) else ""
    return term if term in terms else OTHER
