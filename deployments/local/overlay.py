"""A run of a deployment has the deployment's values, overlaid field by field by those that it was given.

Prefect's server merges one level deep, so that a run with `{"training": {"seed": 3}}` would lose every other value that
the deployment has for `training`. `prefect.yaml` names `overlay_parameters` as a pull step: it runs on the worker's
side before Prefect's engine reads the run, however the run was made, and writes the result to the server, where the
run's page shows it.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger
from prefect.states import Failed
from prefect.utilities.schema_tools import HydrationContext, hydrate

from deployments.local.form import parameter_names
from models.errors import InputError
from tasks.parameters.check import check_parameters

_ENGINE = "prefect.engine"


def overlaid(own: Any, given: Any) -> Any:
    """Overlay values by others, field by field at every depth.

    Args:
        own: values of a deployment.
        given: what a run was given; null counts as given, and a list replaces the whole list.

    Returns:
        The values of the run.
    """
    if not isinstance(own, Mapping) or not isinstance(given, Mapping):
        return given
    return {**own, **{name: overlaid(own[name], value) if name in own else value for name, value in given.items()}}


def overlay_parameters() -> None:
    """Write to the server what the run that this process prepares is to run with.

    A run whose parameters are wrong ends here, as failed, with one sentence as the state's message. One that is tried
    again keeps what it had.

    Raises:
        SystemExit: the run has failed (code 0: there is nothing left to say), or the server does not answer (code 1).
    """
    named = os.environ.get("PREFECT__FLOW_RUN_ID")
    if named is None:  # a worker that loads the flow of a run which has ended, for its hooks
        return
    identity = UUID(named)
    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(identity)
            if run.run_count > 0:
                return
            try:
                parameters = _parameters(client, run)
            except InputError as error:
                flow_run_logger(run).error("%s", error)
                client.set_flow_run_state(identity, Failed(message=str(error)))
                raise SystemExit(0) from error
            if parameters != run.parameters:
                client.update_flow_run(identity, parameters=parameters).raise_for_status()
    except httpx.HTTPError as error:
        sys.stderr.write(
            f"error: run {identity} does not start: the Prefect server did not give its deployment's values "
            f"({type(error).__name__}); run it again once the server answers.\n"
        )
        raise SystemExit(1) from error


def _parameters(client: SyncPrefectClient, run: FlowRun) -> dict[str, Any]:
    """Overlay the deployment's values by those of the run.

    Raises:
        InputError: the flow would not take them, or has read its own already.
    """
    if run.deployment_id is None:
        return run.parameters
    deployment = client.read_deployment(run.deployment_id)
    variables = {variable.name: variable.value for variable in client.read_variables()}
    context = HydrationContext(workspace_variables=variables, render_workspace_variables=True, render_jinja=True)
    parameters = overlaid(hydrate(deployment.parameters, context), hydrate(run.parameters, context))
    check_parameters(parameters, parameter_names(deployment.parameter_openapi_schema))
    if parameters != run.parameters and getattr(sys.modules["__main__"].__spec__, "name", None) == _ENGINE:
        raise InputError(
            "The work pool, or the run, sets a command of its own, which reads the run's parameters before the "
            "deployment's other values are added: leave its Command empty."
        )
    return dict(parameters)
