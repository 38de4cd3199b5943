"""MLflow traces of generated texts, and MLflow's registry of their prompts.

A trace is what MLflow shows of one call of a model. MLflow records calls while they happen, in one tracer a process;
these calls are over when they are logged, were perhaps made by another process, and must not be logged twice. So the
traces are put together from the answers and handed to the tracking store: one request a trace, its feedback included,
and one request for the contents of a hundred. Their ids follow from run and row.
"""

import base64
import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE
from models.report_generation.prompting import Strategy
from models.report_generation.schema import Answer, Usage
from tasks.records.base import RunReference
from tasks.records.reports import GeneratorRecord
from tasks.storage.locations import locks, tracking_uri
from tasks.tracking.runs import experiment_id, prepare

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Assessment, Span, TraceInfo
    from mlflow.tracing.client import TracingClient

_EXPERIMENT = "pneumonia/reports"
_BATCH = 100
_PREVIEW, _CLIENT_ID = 1000, 50  # characters, as many as MLflow's columns hold; PostgreSQL refuses more


def register_prompts(strategies: Sequence[Strategy]) -> dict[str, int]:
    """Register prompting strategies as `pneumonia-report-<name>`, with a new version where the words have changed.

    Args:
        strategies: the strategies.

    Returns:
        Version in the registry, which counts changes there and is not the file's, by name of the strategy.
    """
    from mlflow import MlflowClient

    prepare()
    client = MlflowClient(tracking_uri())
    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / "prompts.lock"):  # two runs at once would both find the version missing
        return {strategy.name: _registered_version(client, strategy) for strategy in strategies}


def log_generations(
    run: RunReference,
    answers: Sequence[Answer],
    images: Mapping[str, bytes],
    scores: Mapping[str, Mapping[str, float | bool | str]],
    *,
    generator: GeneratorRecord,
    settings: Mapping[str, Mapping[str, Any]],
    prompts: Mapping[str, int],
) -> None:
    """Log each row as a trace of the run, with its feedback; a row that the run has already is left as it is.

    Times say how long a row took, not when: rows share the seconds of their batch, so they are laid one after another,
    and the last ends now.

    Args:
        run: the run.
        answers: what came of the requests; of those that share a row the first is logged.
        images: the image that was shown, as PNG, by row id; a row that was shown none is not in it.
        scores: what scorers found, by row id and by scorer; a number that is not finite is left out.
        generator: what wrote the answers.
        settings: what decides the texts of each strategy, as `ReportGenerator.settings` gives it.
        prompts: version in the prompt registry by strategy, as `register_prompts` gives it.
    """
    from mlflow import MlflowClient
    from mlflow.tracing.client import TracingClient

    prepare()
    entry = MlflowClient(tracking_uri()).get_run(run.run_id)
    client = TracingClient(tracking_uri())
    experiment = entry.info.experiment_id
    logged = _complete_traces(client, experiment, run.run_id)
    rows: dict[str, Answer] = {}
    for answer in answers:
        rows.setdefault(answer.row_id, answer)
    missing = [answer for row_id, answer in rows.items() if _trace_id(run.run_id, row_id) not in logged]
    phantoms = "phantoms" in entry.data.tags or any(
        a.report is not None and a.report.provenance.phantoms for a in answers
    )
    start = time.time() - sum(_seconds(answer) for answer in missing)
    calls = []
    for answer in missing:
        calls.append(
            _Call(
                run_id=run.run_id,
                experiment=experiment,
                answer=answer,
                start=start,
                image=images.get(answer.row_id),
                scores=scores.get(answer.row_id, {}),
                generator=generator,
                settings=settings.get(answer.strategy, {}),
                prompt=prompts.get(answer.strategy),
                phantoms=phantoms,
            )
        )
        start += _seconds(answer)
    for first in range(0, len(calls), _BATCH):
        batch = calls[first : first + _BATCH]
        for call in batch:
            client.start_trace(call.info())
        client.log_spans(experiment, [call.span() for call in batch])


@dataclass(frozen=True)
class _Call:
    """One call of the generator, in MLflow's terms."""

    run_id: str
    experiment: str
    answer: Answer
    start: float  # seconds since 1970
    image: bytes | None
    scores: Mapping[str, float | bool | str]
    generator: GeneratorRecord
    settings: Mapping[str, Any]
    prompt: int | None
    phantoms: bool

    @property
    def trace_id(self) -> str:
        return _trace_id(self.run_id, self.answer.row_id)

    def info(self) -> "TraceInfo":
        """What lists of traces show."""
        from mlflow.entities import TraceInfo, TraceLocation, TraceState
        from mlflow.tracing.constant import TRACE_SCHEMA_VERSION, TRACE_SCHEMA_VERSION_KEY, TraceMetadataKey

        answer = self.answer
        metadata = {
            TRACE_SCHEMA_VERSION_KEY: str(TRACE_SCHEMA_VERSION),
            TraceMetadataKey.SOURCE_RUN: self.run_id,
        }
        if answer.usage:
            metadata[TraceMetadataKey.TOKEN_USAGE] = json.dumps(_tokens(answer.usage))
        return TraceInfo(
            trace_id=self.trace_id,
            trace_location=TraceLocation.from_experiment_id(self.experiment),
            request_time=round(self.start * 1000),
            execution_duration=round(_seconds(answer) * 1000),
            state=TraceState.ERROR if answer.problem else TraceState.OK,
            request_preview=f"Case {answer.case_index}, {self._name}: {answer.prompt}"[:_PREVIEW],
            response_preview=" ".join((*self._notices().values(), answer.text or answer.problem or ""))[:_PREVIEW],
            client_request_id=answer.row_id[:_CLIENT_ID],  # whole in the tag `row_id`
            trace_metadata=metadata,
            tags=self._tags(),
            assessments=self._feedback(),
        )

    def span(self) -> "Span":
        """What the page of the trace shows."""
        from mlflow.entities import Span, SpanType
        from mlflow.tracing.constant import SpanAttributeKey
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, Status, StatusCode

        answer = self.answer
        attributes = {
            SpanAttributeKey.REQUEST_ID: self.trace_id,
            SpanAttributeKey.SPAN_TYPE: SpanType.CHAT_MODEL if self.generator.model else SpanType.TASK,
            SpanAttributeKey.INPUTS: {"messages": [{"role": "user", "content": self._question()}]},
            SpanAttributeKey.OUTPUTS: self._outputs(),
            SpanAttributeKey.MESSAGE_FORMAT: "openai",
            **self._attributes(),
        }
        if answer.usage:
            attributes[SpanAttributeKey.CHAT_USAGE] = _tokens(answer.usage)
        if self.generator.model:
            attributes[SpanAttributeKey.MODEL] = self.generator.model
        start = round(self.start * 1000) * 1_000_000  # MLflow keeps whole milliseconds beside these nanoseconds
        return Span(
            ReadableSpan(
                name=self._name,
                context=SpanContext(int(self.trace_id[3:], 16), int(self.trace_id[3:19], 16), is_remote=False),
                resource=Resource.get_empty(),
                attributes={key: json.dumps(value, ensure_ascii=False) for key, value in attributes.items()},
                start_time=start,
                end_time=start + round(_seconds(answer) * 1e9),
                status=Status(StatusCode.ERROR, answer.problem) if answer.problem else Status(StatusCode.OK),
            )
        )

    @property
    def _name(self) -> str:
        answer = self.answer
        words = dict.fromkeys((self.generator.name, answer.strategy))  # a template is its own strategy
        return " ".join(words) + ("" if answer.control == "none" else f", {answer.control}")

    @property
    def _label(self) -> str:
        return (self.answer.report and self.answer.report.label) or "none"

    def _question(self) -> list[dict[str, Any]]:
        text: dict[str, Any] = {"type": "text", "text": self.answer.prompt}
        if self.image is None:
            return [text]
        url = f"data:image/png;base64,{base64.b64encode(self.image).decode()}"
        picture: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
        return [picture, text] if self.generator.image_first else [text, picture]

    def _outputs(self) -> dict[str, Any]:
        answer = self.answer
        outputs: dict[str, Any] = {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer.text}}]}
        if answer.usage:
            outputs["choices"][0]["finish_reason"] = answer.usage.finish_reason
        outputs["label"] = self._label
        if answer.score is not None:
            outputs["probability_of_yes"] = answer.score
        if answer.problem:
            outputs["problem"] = answer.problem
        return outputs | self._notices()

    def _attributes(self) -> dict[str, Any]:
        answer, generator, usage = self.answer, self.generator, self.answer.usage
        attributes = {
            "row_id": answer.row_id,
            "case": answer.case_index,
            "strategy": answer.strategy,
            "control": answer.control,
            "shown_probability": answer.shown_probability,
            "model": generator.model,
            "revision": generator.revision,
            "precision": generator.precision,
            "prompt_version": self.settings.get("version"),
            "max_new_tokens": self.settings.get("max_new_tokens"),
            "constrained": self.settings.get("json_schema") is not None,
        }
        if usage:
            attributes |= {
                "finish_reason": usage.finish_reason,
                "batch_size": usage.batch_size,
                "peak_gib": usage.peak_gib,
            }
        return {name: value for name, value in attributes.items() if value is not None}

    def _tags(self) -> dict[str, str]:
        from mlflow.tracing.constant import TraceTagKey

        answer = self.answer
        tags = {
            TraceTagKey.TRACE_NAME: self._name,
            "row_id": answer.row_id,
            "case": str(answer.case_index),
            "strategy": answer.strategy,
            "control": answer.control,
            "label": self._label,
        }
        if self.prompt is not None:
            linked = [{"name": _registered_name(answer.strategy), "version": str(self.prompt)}]
            tags[TraceTagKey.LINKED_PROMPTS] = json.dumps(linked)
        return tags | self._notices()

    def _notices(self) -> dict[str, str]:
        shown = {"random_weights": self.generator.random_weights, "phantoms": self.phantoms}
        notices = {"random_weights": RANDOM_WEIGHTS_NOTICE, "phantoms": PHANTOM_NOTICE}
        return {name: notice for name, notice in notices.items() if shown[name]}

    def _feedback(self) -> "list[Assessment]":
        from mlflow.entities import AssessmentSource, Feedback
        from mlflow.tracing.constant import AssessmentMetadataKey

        given: list[Assessment] = []
        for scorer, value in self.scores.items():
            if isinstance(value, float) and not math.isfinite(value):
                continue  # JSON has no such number
            feedback = Feedback(
                name=scorer,
                value=value,
                source=AssessmentSource(source_type="CODE", source_id=scorer),
                trace_id=self.trace_id,
                metadata={AssessmentMetadataKey.SOURCE_RUN_ID: self.run_id},
            )
            feedback.assessment_id = f"a-{_digest(self.trace_id, scorer)}"
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


def _registered_version(client: "MlflowClient", strategy: Strategy) -> int:
    """Version of the registered prompt that has the strategy's words, made where the latest has others."""
    from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY

    name = _registered_name(strategy.name)
    roles = {"system": strategy.system, "user": strategy.user}
    template = [{"role": role, "content": content} for role, content in roles.items() if content]
    tags = {
        "file_version": str(strategy.version),
        "digest": strategy.digest,
        "output": strategy.output,
        "paraphrase": strategy.paraphrase,  # a template holds one wording
    }
    if client.get_prompt(name) is None:
        experiment = experiment_id(client, _EXPERIMENT)
        page = {PROMPT_EXPERIMENT_IDS_TAG_KEY: f",{experiment},"}  # so that the experiment's page lists it
        client.create_prompt(name, description=strategy.description, tags=page)
    for latest in client.search_prompt_versions(name, max_results=1):
        if (latest.template, latest.tags.get("paraphrase")) == (template, strategy.paraphrase):
            return int(latest.version)
    return int(client.create_prompt_version(name, template, description=strategy.description, tags=tags).version)


def _registered_name(strategy: str) -> str:
    return f"pneumonia-report-{strategy}"


def _trace_id(run_id: str, row_id: str) -> str:
    return f"tr-{_digest(run_id, row_id)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def _tokens(usage: Usage) -> dict[str, int]:
    prompt, generated = usage.prompt_tokens, usage.generated_tokens
    return {"input_tokens": prompt, "output_tokens": generated, "total_tokens": prompt + generated}


def _seconds(answer: Answer) -> float:
    return answer.usage.seconds if answer.usage else 0.0
