"""Which registered classifier is in use."""

from pydantic import Field

from tasks.parameters.base import Parameters


class ChampionParameters(Parameters):
    """Which registered classifier is in use."""

    name: str = Field(
        "pneumonia-classifier",
        pattern="^[a-z0-9-]+$",
        title="Classifier",
        description="Registered name: `pneumonia-classifier`, or another dataset's such as `bloodmnist-classifier`.",
    )
    version: str | None = Field(
        None,
        pattern="^([1-9][0-9]*|previous)$",
        title="Version",
        description="Version to make champion, by its number, or `previous` for the one before; none lists them all.",
    )
    reason: str = Field(
        "no reason given", min_length=1, title="Reason", description="Why it changes, kept as a tag of both versions."
    )
