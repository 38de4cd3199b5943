"""Which trainings to compare."""

from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

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


class SweepParameters(Parameters):
    """Which trainings to compare: all combinations of the lists. An empty list takes the value of the training form."""

    architectures: Annotated[list[str], _ValuesOf("architecture")] = Field(
        [], title="Architectures", description="Networks to compare."
    )
    losses: Annotated[list[str], _ValuesOf("loss")] = Field([], title="Losses", description="Losses to compare.")
    schedules: Annotated[list[str], _ValuesOf("schedule")] = Field(
        [], title="Schedules", description="Schedules to compare."
    )
    augmentations: Annotated[list[str], _ValuesOf("augmentation")] = Field(
        [], title="Augmentations", description="Augmentations to compare."
    )
    learning_rates: Annotated[list[float], _ValuesOf("learning_rate")] = Field(
        [], title="Learning rates", description="Peak learning rates to compare."
    )
    weight_decays: Annotated[list[float], _ValuesOf("weight_decay")] = Field(
        [], title="Weight decays", description="Weight decays to compare."
    )
    label_smoothings: Annotated[list[float], _ValuesOf("label_smoothing")] = Field(
        [], title="Label smoothings", description="Label smoothings to compare."
    )
    mixups: Annotated[list[float], _ValuesOf("mixup")] = Field(
        [], title="Mixups", description="Values of mixup's α to compare."
    )
    epochs: Annotated[list[int], _ValuesOf("epochs")] = Field(
        [], title="Epochs", description="Lengths of training to compare."
    )
    batch_sizes: Annotated[list[int], _ValuesOf("batch_size")] = Field(
        [], title="Batch sizes", description="Batch sizes to compare."
    )
    seeds: Annotated[list[int], _ValuesOf("seed"), MinLen(1)] = Field(
        [0, 1, 2], title="Seeds", description="Each combination is trained once per seed."
    )
    at_once: int = Field(
        2, ge=1, le=64, title="At once", description="Trainings that run in parallel and share the cores."
    )
