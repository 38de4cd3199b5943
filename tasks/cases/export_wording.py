"""What a case says, in sentences for the readers of other systems (DICOM, FHIR)."""

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.cases.algorithm import Algorithm
from tasks.cases.case import Case

SERIES_DESCRIPTION = "RESEARCH USE ONLY - not for diagnosis"
MANUFACTURER = "Research software, not a medical device"


def notices(algorithm: Algorithm) -> list[str]:
    """Return what every object says first."""
    return [*([PHANTOM_NOTICE] if algorithm.phantoms else []), RESEARCH_NOTICE]


def result(case: Case, algorithm: Algorithm) -> str:
    """Say what was found, or why nothing is said, in a sentence or two.

    Args:
        case: the case.
        algorithm: what it was computed with.
    """
    if case.classification is None:
        return f"No result: the picture could not be read ({case.problem or 'for no known reason'})."
    if case.foreign:
        reasons = " ".join(case.screening.reasons) if case.screening else ""
        return (
            "No probability is given, since the picture does not look like what the classifier was made for: it "
            f"would mean nothing. {reasons}".strip()
        )
    found = case.classification
    return (
        f"Calibrated probability of {algorithm.classes[1]} {found.probability:.4f}; predicted class {found.label} "
        f"(from {found.threshold:.4f} on, {algorithm.classes[1]})."
    )
