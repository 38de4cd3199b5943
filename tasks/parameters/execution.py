"""Where parallel work runs."""

from typing import Literal

from pydantic import Field

from tasks.parameters.base import Parameters


class ExecutionParameters(Parameters):
    """Where parallel work runs: shards of embeddings, batches of reports, trainings of a sweep."""

    runner: Literal["threads", "dask"] = Field(
        "threads",
        title="Runner",
        description="`threads` of this process, or `dask`: processes of a Dask cluster, on one machine or several. "
        "The results are the same.",
    )
    workers: int = Field(
        2,
        ge=1,
        le=64,
        title="Workers",
        description="Parallel workers. A sweep on threads goes by its own field; a Dask scheduler that is named below "
        "has its own workers.",
    )
    scheduler: str | None = Field(
        None,
        pattern=r"^(tcp|tls|ws|wss)://[^/\s]+:[0-9]+$",
        title="Dask scheduler",
        description="Dask only: address of a running scheduler, such as `tcp://10.0.0.5:8786`; none starts a cluster "
        "on this machine for the time of the run.",
    )
