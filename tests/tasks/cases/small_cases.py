"""Small cases, made by hand."""

from datetime import UTC, datetime

from tasks.cases.algorithm import Algorithm
from tasks.cases.case import Case, Classification, Reliability, Screening

ALGORITHM = Algorithm(version="0.1.0", classifier_sha256="ab" * 32)
MADE = datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC)
DIGEST = "1f" * 32
REASON = "It is a colour photograph – of a café."


def make_case(*, foreign: bool = False, probability: float = 0.83125, label: str = "pneumonia", **changes) -> Case:
    """A case that was read; `foreign` flags it."""
    screening = Screening(foreign=foreign, reasons=(REASON,) if foreign else (), distance=0.1, limit=0.3, typical=0.5)
    classification = Classification(
        probability=probability,
        threshold=0.5,
        label=label,
        sets={"0.90": (label,), "0.95": ("normal", "pneumonia")},
        reliability=Reliability(low=0.7, high=0.9, images=50, share=0.8, share_low=0.7, share_high=0.9),
    )
    fields = {
        "digest": DIGEST, "name": "scan.dcm", "pixels": "aa" * 32, "height": 20, "width": 30,
        "screening": screening, "classification": classification,
    }  # fmt: skip
    return Case(**(fields | changes))


UNREADABLE = Case(digest="2e" * 32, name="broken.png", problem="broken.png cannot be read: export it again.")
