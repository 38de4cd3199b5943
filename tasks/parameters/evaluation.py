"""How to set the operating point and score the test split."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from models.choices import THRESHOLD_RULES, ThresholdRuleName, described
from tasks.parameters.base import Parameters


def _several(folds: int) -> int:
    """Refuse a single fold, which would leave nothing to train on."""
    if folds == 1:
        raise PydanticCustomError(
            "one_fold", "One fold leaves nothing to train on: choose 2 or more, or 0 for no audit"
        )
    return folds


def of_both_classes(images: int) -> int:
    """Refuse a single image, which is of one class only."""
    if images == 1:
        raise PydanticCustomError("one_image", "One image is of one class only: choose 2 or more, or 0 for none")
    return images


class EvaluationParameters(Parameters):
    """How to set the operating point and score the test split."""

    threshold_rule: ThresholdRuleName = Field(
        "balanced_likelihood",
        title="Operating point",
        description=described("Threshold of a two-class decision, never chosen on test", THRESHOLD_RULES),
    )
    bootstrap_samples: int = Field(
        1000, ge=50, le=100_000, title="Bootstrap samples", description="Resamples per 95 % confidence interval."
    )
    failures: int = Field(
        24, ge=1, le=100, title="Failures shown", description="Most confident errors in the figure of failure cases."
    )
    explained_images: int = Field(
        64, ge=4, le=1000, title="Explained images", description="Test images in the checks of the Grad-CAM maps."
    )
    explanation_draws: int = Field(
        5,
        ge=2,
        le=20,
        title="Untrained networks",
        description="Randomly initialised networks in the weight-randomisation check: their Grad-CAM maps must differ "
        "from those of the trained network.",
    )
    label_folds: Annotated[int, AfterValidator(_several)] = Field(
        5,
        ge=0,
        le=20,
        title="Folds of the label audit",
        description="Cross-validation folds of the search for wrong labels (confident learning), a small network per "
        "fold; 0 skips it, as do more than 30,000 training images.",
    )
    corrupted_images: Annotated[int, AfterValidator(of_both_classes)] = Field(
        1000,
        ge=0,
        le=100_000,
        title="Corrupted images",
        description="Images of validation and of test each, all of PneumoniaMNIST's by default, that are corrupted in "
        "65 ways to measure robustness (MedMNIST-C) and to calibrate for a shift; 0 skips it, as do other datasets and "
        "probes without a GPU.",
    )
    promote: bool = Field(
        True,
        title="Register and promote",
        description="Register the classifier in MLflow, and make it champion if it beats the champion on validation. "
        "One that was trained on a part of the data (a limit) or on phantoms is not registered.",
    )
