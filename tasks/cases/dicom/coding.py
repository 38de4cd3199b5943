"""Codes for what a case says.

Codes of published terminologies are taken only where they say what is meant: SNOMED CT for the classes of chest X-rays,
LOINC for the procedure. The rest has codes of this project's own (scheme 99PNEUMONIA), which name what no terminology
does: a calibrated probability, a conformal set.
"""

import unicodedata

from pydicom.sr.coding import Code

SCHEME = "99PNEUMONIA"
SCHEME_NAME = "Pneumonia workflow, research use only"

CHEST_RADIOGRAPH = Code("36554-4", "LN", "XR Chest Single view")
COMMENT = Code("121106", "DCM", "Comment")
NO_UNITS = Code("1", "UCUM", "no units")
YES = Code("373066001", "SCT", "Yes")
NO = Code("373067005", "SCT", "No")
SOURCE_IMAGE = Code("121322", "DCM", "Source Image for Image Processing Operation")

PREDICTED_CLASS = Code("class", SCHEME, "Predicted class")
FOREIGN = Code("foreign", SCHEME, "Unlike what the classifier was made for")
NO_CLASS = Code("no-class", SCHEME, "No class")
NOTICE = Code("notice", SCHEME, "Notice")

_CLASSES = {
    "pneumonia": Code("233604007", "SCT", "Pneumonia"),
    "normal": Code("17621005", "SCT", "Normal"),
}


def class_code(label: str, classes: tuple[str, str]) -> Code:
    """Return the code of a class; one of this project's own for a class that is not of chest X-rays.

    Args:
        label: the class.
        classes: both classes of the dataset.
    """
    own = Code(f"class-{classes.index(label)}", SCHEME, ascii_text(label)[:64])
    return _CLASSES.get(label, own)


def probability_code(label: str) -> Code:
    """Return the code of the calibrated probability of a class."""
    return Code("probability", SCHEME, f"Calibrated probability of {ascii_text(label)}"[:64])


def threshold_code(label: str) -> Code:
    """Return the code of the probability from which a class is predicted."""
    return Code("threshold", SCHEME, f"Probability that predicts {ascii_text(label)}"[:64])


def set_code(coverage: str) -> Code:
    """Return the code of a conformal set.

    Args:
        coverage: that it promises, as a case names it: "0.90".
    """
    percent = f"{100 * float(coverage):g}"
    return Code(f"set-{percent}", SCHEME, f"Class in the conformal set with {percent} % coverage")


def ascii_text(text: str) -> str:
    """Write text with ASCII characters only, which every character set of DICOM can tell.

    Args:
        text: of any script; accents are left out, and what has no ASCII form becomes a question mark.
    """
    plain = text.translate(
        {0x2013: "-", 0x2014: "-", 0x2212: "-", 0xD7: "x", 0x2026: "...", 0x2265: ">=", 0x2264: "<="}
    )
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(letter))
    return bare.encode("ascii", "replace").decode("ascii")
