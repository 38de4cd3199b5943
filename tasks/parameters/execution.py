"""Where work that is done in parts runs."""

from typing import Literal

from pydantic import Field

from tasks.parameters.base import Parameters


class ExecutionParameters(Parameters):
    """Where work that is done in parts runs: shards of embeddings, batches of reports, trainings of a sweep."""

    runner: Literal["threads", "dask"] = Field(
        "threads",
        title="Runner",
        description="`threads` of this process, or processes of a Dask cluster, on this machine or on several. The "
        "results are the same.",
    )
    workers: int = Field(
        2,
        ge=1,
        le=64,
        title="Workers",
        description="Parts that run at the same time, but as many trainings of a sweep on threads as its form says; a "
        "Dask scheduler that is named below has workers of its own.",
    )
    scheduler: str | None = Field(
        None,
        pattern=r"^(tcp|tls|ws|wss)://[^/\s]+:[0-9]+$",
        title="Dask scheduler",
        description="Dask only: its address, `tcp://10.0.0.5:8786` for instance; none starts a cluster on this machine "
        "for as long as the work takes.",
    )
