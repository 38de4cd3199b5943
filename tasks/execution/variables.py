"""What a person sets on the Prefect server for all runs to come: its variables."""

from prefect.logging import get_run_logger
from prefect.variables import Variable

DRIFT_VARIABLE = "pneumonia_drift_auc"


def drift_threshold() -> float | None:
    """Read above which AUC a person wants the embeddings of a class to count as drifted, as the server has it now.

    Returns:
        The variable `pneumonia_drift_auc`; None where the server has no such variable, and with a warning where it is
        no number from 0.5 to 1: the run then goes by the thresholds that it measures.
    """
    value: object = Variable.get(DRIFT_VARIABLE, default=None)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.5 <= value <= 1:
        return float(value)
    get_run_logger().warning(
        "The variable %s is %r, which is not a number from 0.5 to 1: the thresholds that this run measures are used. "
        "Set it in the Prefect UI under Variables, or delete it.",
        DRIFT_VARIABLE, value,
    )  # fmt: skip
    return None
