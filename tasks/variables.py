"""What a person sets on the Prefect server for all runs to come: its variables."""

from prefect.logging import get_run_logger
from prefect.variables import Variable

DRIFT_VARIABLE = "pneumonia_drift_auc"
DRIFT_AUC = 0.75
"""The default. It is not calibrated: no one knows yet from where on drift costs accuracy."""


def drift_threshold() -> float:
    """Read from which AUC on the embeddings of a class count as drifted, as the server has it now.

    Returns:
        The variable `pneumonia_drift_auc`; the default, with a warning, where it is no number from 0.5 to 1, and
        without one where the server has no such variable.
    """
    value = Variable.get(DRIFT_VARIABLE, default=DRIFT_AUC)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.5 <= value <= 1:
        return float(value)
    get_run_logger().warning(
        "The variable %s is %r, which is not a number from 0.5 to 1: %s is used. Set it in the Prefect UI under "
        "Variables.",
        DRIFT_VARIABLE, value, DRIFT_AUC,
    )  # fmt: skip
    return DRIFT_AUC
