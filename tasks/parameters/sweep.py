"""Which trainings to compare."""

from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from models.choices import SEARCHES, SearchName, described
from tasks.parameters.base import Parameters
from tasks.parameters.training import TrainingParameters


class _ValuesOf:
    """A list of values of a field of the training form: the same choices, the same bounds.

    Args:
        field: name of that field.
    """

    def __init__(self, field: str) -> None:
        training = TrainingParameters.model_fields[field]
        value: Any = Annotated[(training.annotation, Field(), *training.metadata)]
        self._values = list[value]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self._values)


def _compared(title: str, values: str) -> Any:
    return Field([], title=title, description=f"{values} to compare.")


class SweepParameters(Parameters):
    """Which trainings to compare. An empty list takes the value of the training form.

    A search takes two numbers for the ends of a range, and more for values to choose from. With all lists empty it is
    over all that the form takes, but for what decides how long a training is.
    """

    search: SearchName = Field("grid", title="Search", description=described("What is trained", SEARCHES))
    trials: int | None = Field(
        None, ge=1, le=200, title="Trials", description="For `tpe`, which needs it: combinations to propose."
    )

    architectures: Annotated[list[str], _ValuesOf("architecture")] = _compared("Architectures", "Networks")
    losses: Annotated[list[str], _ValuesOf("loss")] = _compared("Losses", "Losses")
    schedules: Annotated[list[str], _ValuesOf("schedule")] = _compared("Schedules", "Schedules")
    augmentations: Annotated[list[str], _ValuesOf("augmentation")] = _compared("Augmentations", "Augmentations")
    learning_rates: Annotated[list[float], _ValuesOf("learning_rate")] = _compared(
        "Learning rates", "Peak learning rates"
    )
    weight_decays: Annotated[list[float], _ValuesOf("weight_decay")] = _compared("Weight decays", "Weight decays")
    label_smoothings: Annotated[list[float], _ValuesOf("label_smoothing")] = _compared(
        "Label smoothings", "Label smoothings"
    )
    mixups: Annotated[list[float], _ValuesOf("mixup")] = _compared("Mixups", "Values of mixup's α")
    epochs: Annotated[list[int], _ValuesOf("epochs")] = _compared("Epochs", "Lengths of training")
    batch_sizes: Annotated[list[int], _ValuesOf("batch_size")] = _compared("Batch sizes", "Batch sizes")
    seeds: Annotated[list[int], _ValuesOf("seed"), MinLen(1)] = Field(
        [0, 1, 2], title="Seeds", description="Each combination is trained once per seed."
    )
    startup_trials: int = Field(
        5,
        ge=1,
        le=200,
        title="Start-up trials",
        description="For `tpe`: the first trials are drawn at random; none is pruned before so many have finished.",
    )
    prune_after: int | None = Field(
        5,
        ge=1,
        le=500,
        title="Prune after",
        description="For `tpe`: epochs that every training has before it is ended where its validation loss is above "
        "the median of earlier trials; none prunes no training.",
    )
    at_once: int = Field(
        2, ge=1, le=64, title="At once", description="Trainings that run in parallel and share the cores."
    )
