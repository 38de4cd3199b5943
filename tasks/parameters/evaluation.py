"""How to set the operating point and score the test split."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tasks.parameters.base import Parameters


def _several(folds: int) -> int:
    """Refuse a single fold, which would leave nothing to train on."""
    if folds == 1:
        raise PydanticCustomError(
            "one_fold", "One fold leaves nothing to train on: choose 2 or more, or 0 for no audit"
        )
    return folds


class EvaluationParameters(Parameters):
    """How to set the operating point and score the test split."""

    threshold_rule: Literal["balanced_likelihood", "balanced_accuracy", "fixed"] = Field(
        "fixed",
        title="Operating point",
        description="Two classes only: fixed beforehand at .5, which is right for a class-balanced loss, or chosen on "
        "validation, where a class-balanced recalibration crosses one half or where balanced accuracy is best. Never "
        "chosen on test.",
    )
    bootstrap_samples: int = Field(
        1000, ge=50, le=100_000, title="Bootstrap samples", description="Resamples behind each 95 % interval."
    )
    failures: int = Field(
        24, ge=1, le=100, title="Failures shown", description="Most confident errors in the figure of failure cases."
    )
    explained_images: int = Field(
        64,
        ge=4,
        le=1000,
        title="Images in the checks of the maps",
        description="Test images whose heat maps are checked.",
    )
    explanation_draws: int = Field(
        5,
        ge=2,
        le=20,
        title="Untrained networks",
        description="Random networks that the heat maps are compared with: they must not look like theirs.",
    )
    label_folds: Annotated[int, AfterValidator(_several)] = Field(
        5,
        ge=0,
        le=20,
        title="Folds of the label audit",
        description="Small networks trained to look for wrong labels, each on all training images but one fold; 0 "
        "leaves the audit out, as more than 30,000 training images do.",
    )
    promote: bool = Field(
        True,
        title="Register and promote",
        description="Register the classifier, and make it champion if it beats the champion on validation. One of a "
        "trial (a limit, phantoms) is not registered.",
    )
