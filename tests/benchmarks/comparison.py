"""One line of the benchmark table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Ours beside a reference, measured in the same process, alternating.

    Attributes:
        name: what was measured, with sizes.
        ours: median seconds of this project's code.
        reference: median seconds of what it is compared to.
        reference_name: what that is.
        goal_ratio: reference / ours that is aimed at.
        goal_seconds: seconds that ours should stay within, or None.
        peak_mib: additional peak memory of ours in MiB, or None where it was not measured.
    """

    name: str
    ours: float
    reference: float
    reference_name: str
    goal_ratio: float
    goal_seconds: float | None = None
    peak_mib: float | None = None
