"""MLflow traces of calls of a model that are over, and MLflow's registry of their prompts.

MLflow records calls while they happen, in one tracer per process; these calls are over when they are logged, were
perhaps made by another process, and must not be logged twice. So the traces are put together here and handed to the
tracking store: one request for each trace, its feedback included, and one for the contents of a hundred. Their ids
follow from the run and the call.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from filelock import FileLock

from tasks.records.base import RunReference
from tasks.records.model_calls import ModelCall, Prompt
from tasks.storage.locations import locks, tracking_uri
from tasks.tracking.runs import experiment_id, experiment_of, new_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Assessment, Span, TraceInfo
    from mlflow.tracing.client import TracingClient

_BATCH = 100
_PREVIEW, _CLIENT_ID = 1000, 50  # characters, as many as MLflow's columns hold; PostgreSQL refuses more


def register_prompts(experiment: str, prompts: Sequence[Prompt]) -> dict[str, int]:
    """Register prompts, with a new version where the words have changed.

    Args:
        experiment: name of the experiment whose page lists them.
        prompts: the prompts.

    Returns:
        Version in the registry by name.
    """
    client = new_client()
    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / "prompts.lock"):  # two runs at once would both find the version missing
        return {prompt.name: _registered_version(client, experiment, prompt) for prompt in prompts}


def log_calls(run: RunReference, calls: Iterable[ModelCall]) -> None:
    """Log each call as a trace of the run, with its feedback; one that the run has already is left as it is.

    Times say how long a call took, not when: those of a batch share its seconds, so they are laid one after another,
    and the last ends now.

    Args:
        run: the run.
        calls: the calls; of those that share an id the first is logged.
    """
    from mlflow.tracing.client import TracingClient

    experiment = experiment_of(run)
    client = TracingClient(tracking_uri())
    logged = _complete_traces(client, experiment, run.run_id)
    different: dict[str, ModelCall] = {}
    for call in calls:
        different.setdefault(_trace_id(run.run_id, call), call)
    missing = [call for trace, call in different.items() if trace not in logged]
    start = time.time() - sum(call.seconds for call in missing)
    for first in range(0, len(missing), _BATCH):
        spans = []
        for call in missing[first : first + _BATCH]:
            client.start_trace(_info(run.run_id, experiment, call, start))
            spans.append(_span(run.run_id, call, start))
            start += call.seconds
        client.log_spans(experiment, spans)


def _info(run_id: str, experiment: str, call: ModelCall, start: float) -> "TraceInfo":
    """Make what lists of traces show."""
    from mlflow.entities import TraceInfo, TraceLocation, TraceState
    from mlflow.tracing.constant import TRACE_SCHEMA_VERSION, TRACE_SCHEMA_VERSION_KEY, TraceMetadataKey, TraceTagKey

    metadata = {TRACE_SCHEMA_VERSION_KEY: str(TRACE_SCHEMA_VERSION), TraceMetadataKey.SOURCE_RUN: run_id}
    if call.tokens:
        metadata[TraceMetadataKey.TOKEN_USAGE] = json.dumps(_usage(call.tokens))
    tags = {TraceTagKey.TRACE_NAME: call.name, **call.tags}
    if call.prompt:
        tags[TraceTagKey.LINKED_PROMPTS] = json.dumps([{"name": call.prompt[0], "version": str(call.prompt[1])}])
    return TraceInfo(
        trace_id=_trace_id(run_id, call),
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=round(start * 1000),
        execution_duration=round(call.seconds * 1000),
        state=TraceState.ERROR if call.problem else TraceState.OK,
        request_preview=call.request_preview[:_PREVIEW],
        response_preview=call.response_preview[:_PREVIEW],
        client_request_id=call.id[:_CLIENT_ID],
        trace_metadata=metadata,
        tags=tags,
        assessments=_feedback(run_id, call),
    )


def _span(run_id: str, call: ModelCall, start: float) -> "Span":
    """Make what the page of the trace shows."""
    from mlflow.entities import Span, SpanType
    from mlflow.tracing.constant import SpanAttributeKey
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, Status, StatusCode

    trace_id = _trace_id(run_id, call)
    attributes = {
        SpanAttributeKey.REQUEST_ID: trace_id,
        SpanAttributeKey.SPAN_TYPE: SpanType.CHAT_MODEL if call.model else SpanType.TASK,
        SpanAttributeKey.INPUTS: {"messages": call.messages},
        SpanAttributeKey.OUTPUTS: call.outputs,
        SpanAttributeKey.MESSAGE_FORMAT: "openai",
        **call.attributes,
    }
    if call.tokens:
        attributes[SpanAttributeKey.CHAT_USAGE] = _usage(call.tokens)
    if call.model:
        attributes[SpanAttributeKey.MODEL] = call.model
    began = round(start * 1000) * 1_000_000  # MLflow keeps whole milliseconds beside these nanoseconds
    return Span(
        ReadableSpan(
            name=call.name,
            context=SpanContext(int(trace_id[3:], 16), int(trace_id[3:19], 16), is_remote=False),
            resource=Resource.get_empty(),
            attributes={key: json.dumps(value, ensure_ascii=False) for key, value in attributes.items()},
            start_time=began,
            end_time=began + round(call.seconds * 1e9),
            status=Status(StatusCode.ERROR, call.problem) if call.problem else Status(StatusCode.OK),
        )
    )


def _feedback(run_id: str, call: ModelCall) -> "list[Assessment]":
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.tracing.constant import AssessmentMetadataKey

    given: list[Assessment] = []
    for scorer, value in call.feedback.items():
        if isinstance(value, float) and not math.isfinite(value):
            continue  # JSON has no such number
        feedback = Feedback(
            name=scorer,
            value=value,
            source=AssessmentSource(source_type="CODE", source_id=scorer),
            trace_id=_trace_id(run_id, call),
            metadata={AssessmentMetadataKey.SOURCE_RUN_ID: run_id},
        )
        feedback.assessment_id = f"a-{_digest(_trace_id(run_id, call), scorer)}"
        given.append(feedback)
    return given


def _complete_traces(client: "TracingClient", experiment: str, run_id: str) -> set[str]:
    """Ids of the run's traces; one whose contents a killed process did not get to log is not among them."""
    from mlflow.tracing.constant import SpansLocation, TraceTagKey

    found: set[str] = set()
    token = None
    while True:
        page = client.search_traces(
            locations=[experiment], run_id=run_id, include_spans=False, max_results=500, page_token=token
        )
        found |= {
            trace.info.trace_id
            for trace in page
            if trace.info.tags.get(TraceTagKey.SPANS_LOCATION) == SpansLocation.TRACKING_STORE
        }
        token = page.token
        if not token:
            return found


def _registered_version(client: "MlflowClient", experiment: str, prompt: Prompt) -> int:
    """Version of the registered prompt that has these words, made where the latest has others."""
    from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY

    if client.get_prompt(prompt.name) is None:
        page = {PROMPT_EXPERIMENT_IDS_TAG_KEY: f",{experiment_id(client, experiment)},"}
        client.create_prompt(prompt.name, description=prompt.description, tags=page)
    for latest in client.search_prompt_versions(prompt.name, max_results=1):
        words = {name: latest.tags.get(name) for name in prompt.words}
        if (latest.template, words) == (prompt.template, prompt.words):
            return int(latest.version)
    made = client.create_prompt_version(
        prompt.name, prompt.template, description=prompt.description, tags={**prompt.tags, **prompt.words}
    )
    return int(made.version)


def _trace_id(run_id: str, call: ModelCall) -> str:
    return f"tr-{_digest(run_id, call.id)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def _usage(tokens: tuple[int, int]) -> dict[str, int]:
    return {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
