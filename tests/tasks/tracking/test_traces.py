"""Traces, feedback and prompts on a real SQLite store, and once through a real server."""

import base64
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from mlflow import MlflowClient
from mlflow.tracing.client import TracingClient
from PIL import Image

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE
from models.report_generation.prompting import Strategy
from models.report_generation.schema import Answer, Provenance, Report, Usage
from tasks.records.base import RunReference
from tasks.records.reports import GeneratorRecord
from tasks.reports.model_calls import model_calls, prompts
from tasks.storage.locations import tracking_uri
from tasks.tracking import runs as tracking
from tasks.tracking import traces as tracing
from tests.conftest import CHECKOUT
from tests.support.ports import free_port

pytestmark = pytest.mark.usefixtures("shared_outputs")

MEDGEMMA = GeneratorRecord(
    name="medgemma", strategies=("structured",), model="google/medgemma-4b-it", revision="c0ffee", precision="nf4"
)
SETTINGS = {"structured": {"version": 3, "max_new_tokens": 384, "json_schema": {"type": "object"}}}


def _png(grey):
    file = io.BytesIO()
    Image.new("L", (28, 28), grey).save(file, "png")
    return file.getvalue()


def _report():
    source = Provenance(
        generator="medgemma", version="3", strategy="structured", language_model=True, dataset="pneumoniamnist",
        classifier_sha256="5a", phantoms=False,
    )  # fmt: skip
    return Report(
        case_index=7, impression="An opacity.", label="pneumonia", limitations=("Research.",), provenance=source
    )


def _answer(row_id="a1", **other):
    usage = Usage(
        prompt_tokens=300, generated_tokens=40, finish_reason="stop", seconds=1.5, batch_size=8, peak_gib=3.25
    )
    fields = {
        "row_id": row_id, "case_index": 7, "strategy": "structured", "control": "none", "shown_probability": 0.8,
        "prompt": "Describe the picture.", "text": '{"label": "pneumonia"}', "report": _report(), "usage": usage,
    }  # fmt: skip
    return Answer(**(fields | other))


def _client():
    return MlflowClient(tracking_uri())


def _run():
    tracking.prepare()
    client = _client()
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    return RunReference(run_id=client.create_run(experiment).info.run_id)


def _log(run, answers, images=None, scores=None, generator=MEDGEMMA, versions=None, phantoms=False):
    calls = model_calls(
        answers, images or {}, scores or {}, generator=generator, settings=SETTINGS, versions=versions or {},
        phantoms=phantoms,
    )  # fmt: skip
    tracing.log_calls(run, calls)


def _register(strategies):
    found = tracing.register_prompts("pneumonia/reports", prompts(strategies))
    return {name.removeprefix("pneumonia-report-"): version for name, version in found.items()}


def _traces(run):
    """The run's traces by row id, as MLflow's own client finds them."""
    client = _client()
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    found = client.search_traces(locations=[experiment], run_id=run.run_id, max_results=500)
    by_row = {trace.info.tags["row_id"]: trace for trace in found}
    assert len(by_row) == len(found)
    return by_row


def test_a_trace_shows_what_was_asked_and_what_came():
    run, image = _run(), _png(90)
    _log(run, [_answer()], {"a1": image}, versions={"pneumonia-report-structured": 2})
    trace = _traces(run)["a1"]
    (span,) = trace.data.spans
    (message,) = span.inputs["messages"]
    picture, text = message["content"]
    assert base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,")) == image
    assert text["text"] == "Describe the picture."
    (choice,) = span.outputs["choices"]
    assert choice["message"]["content"] == '{"label": "pneumonia"}'
    assert choice["finish_reason"] == "stop"
    assert span.outputs["label"] == "pneumonia"
    assert span.name == trace.info.tags["mlflow.traceName"] == "medgemma structured"
    assert span.span_type == "CHAT_MODEL"
    assert span.status.status_code == trace.info.state == "OK"
    expected = {
        "row_id": "a1", "case": 7, "strategy": "structured", "control": "none", "shown_probability": 0.8,
        "model": "google/medgemma-4b-it", "revision": "c0ffee", "precision": "nf4", "prompt_version": 3,
        "max_new_tokens": 384, "constrained": True, "finish_reason": "stop", "batch_size": 8, "peak_gib": 3.25,
        "mlflow.llm.model": "google/medgemma-4b-it",
    }  # fmt: skip
    assert {name: span.attributes.get(name) for name in expected} == expected
    tokens = {"input_tokens": 300, "output_tokens": 40, "total_tokens": 340}
    assert span.attributes["mlflow.chat.tokenUsage"] == trace.info.token_usage == tokens
    shown = {name: trace.info.tags[name] for name in ("case", "strategy", "control", "label")}
    assert shown == {"case": "7", "strategy": "structured", "control": "none", "label": "pneumonia"}
    linked = json.loads(trace.info.tags["mlflow.linkedPrompts"])
    assert linked == [{"name": "pneumonia-report-structured", "version": "2"}]
    assert not {"phantoms", "random_weights"} & set(trace.info.tags)


def test_a_trace_shows_how_the_model_was_run_and_whether_it_decided():
    run = _run()
    usage = _answer().usage.model_copy(update={"attention": "sdpa without cuDNN", "thought_tokens": 12})
    asked = {"strategy": "yes_no", "report": None, "text": "Yes", "score": 0.75}
    answers = [
        _answer("a1", usage=usage),
        _answer("a2", **asked, choice_mass=0.97),
        _answer("a3", **asked, choice_mass=0.02, control="blank"),
    ]
    _log(run, answers, generator=MEDGEMMA.model_copy(update={"conventions": "1.5"}))
    spans = {row: trace.data.spans[0] for row, trace in _traces(run).items()}
    shown = {name: spans["a1"].attributes.get(name) for name in ("attention", "thought_tokens", "conventions")}
    assert shown == {"attention": "sdpa without cuDNN", "thought_tokens": 12, "conventions": "1.5"}
    assert [spans[row].attributes.get("choice_mass") for row in ("a1", "a2", "a3")] == [None, 0.97, 0.02]
    assert [spans[row].outputs.get("probability_of_yes") for row in ("a2", "a3")] == [0.75, "undecided"]


def test_the_id_of_a_request_fits_the_column_of_every_database():
    run, row_id = _run(), "ab" * 32
    _log(run, [_answer(row_id)])
    assert _traces(run)[row_id].info.client_request_id == row_id[:50]


def test_the_picture_comes_second_where_the_generator_was_shown_it_second_and_not_at_all_without_one():
    run = _run()
    answers = [_answer("a1"), _answer("a2", control="no_image")]
    _log(run, answers, {"a1": _png(0)}, generator=MEDGEMMA.model_copy(update={"image_first": False}))
    kinds = {
        row: [part["type"] for part in trace.data.spans[0].inputs["messages"][0]["content"]]
        for row, trace in _traces(run).items()
    }
    assert kinds == {"a1": ["text", "image_url"], "a2": ["text"]}


def test_times_add_up_to_the_seconds_of_the_batches_and_end_in_the_past():
    run = _run()
    usages = [_answer().usage.model_copy(update={"seconds": seconds}) for seconds in (0.25, 2.0, 1.0)]
    _log(run, [_answer(f"a{i}", usage=usage) for i, usage in enumerate(usages)])
    spans = [_traces(run)[f"a{i}"].data.spans[0] for i in range(3)]
    assert [(span.end_time_ns - span.start_time_ns) / 1e9 for span in spans] == pytest.approx([0.25, 2.0, 1.0])
    assert spans[2].end_time_ns - spans[0].start_time_ns == pytest.approx(3.25e9, abs=1e6)
    assert spans[2].end_time_ns < time.time_ns()
    assert [_traces(run)[f"a{i}"].info.execution_duration for i in range(3)] == [250, 2000, 1000]


def test_an_answer_with_a_problem_is_an_error_that_says_why():
    run = _run()
    _log(run, [_answer("cut", report=None, problem="it holds no JSON"), _answer("lost", report=None, text="",
         usage=None, problem="out of memory"), _answer("good")])  # fmt: skip
    traces = _traces(run)
    assert {row: trace.info.state for row, trace in traces.items()} == {"cut": "ERROR", "lost": "ERROR", "good": "OK"}
    assert traces["cut"].data.spans[0].status.description == "it holds no JSON"
    assert traces["cut"].data.spans[0].outputs["problem"] == "it holds no JSON"
    assert traces["cut"].data.spans[0].outputs["choices"][0]["message"]["content"] == '{"label": "pneumonia"}'
    assert traces["cut"].info.tags["label"] == "none"
    assert traces["lost"].info.token_usage is None
    assert traces["lost"].info.execution_duration == 0


def test_a_yes_or_no_question_shows_its_probability():
    run = _run()
    _log(run, [_answer(strategy="yes_no", report=None, text="Yes", score=0.75)])
    trace = _traces(run)["a1"]
    assert trace.data.spans[0].outputs["probability_of_yes"] == 0.75
    assert trace.info.state == "OK"


def test_a_template_is_no_chat_model():
    run = _run()
    _log(run, [_answer(strategy="template")], generator=GeneratorRecord(name="template"))
    (span,) = _traces(run)["a1"].data.spans
    assert span.name == "template"
    assert span.span_type == "TASK"
    assert not {"model", "revision", "mlflow.llm.model"} & set(span.attributes)


def test_feedback_has_its_value_its_scorer_and_its_run():
    run = _run()
    scores = {"label_correct": True, "unsupported_claims": 2.0, "tone": "hedging", "undefined": float("nan")}
    _log(run, [_answer("a1"), _answer("a2")], scores={"a1": scores})
    traces = _traces(run)
    given = {feedback.name: feedback for feedback in traces["a1"].info.assessments}
    values = {name: feedback.value for name, feedback in given.items()}
    assert values == {"label_correct": True, "unsupported_claims": 2.0, "tone": "hedging"}
    assert isinstance(values["label_correct"], bool)
    assert {(f.source.source_type, f.source.source_id) for f in given.values()} == {("CODE", name) for name in values}
    assert {feedback.run_id for feedback in given.values()} == {run.run_id}
    assert traces["a2"].info.assessments == []


def test_random_weights_and_phantoms_are_said_wherever_the_text_shows():
    run = _run()
    answers = [_answer("a1"), _answer("a2", report=None, problem="no JSON")]
    _log(run, answers, generator=MEDGEMMA.model_copy(update={"random_weights": True}), phantoms=True)
    for trace in _traces(run).values():
        said = {"random_weights": RANDOM_WEIGHTS_NOTICE, "phantoms": PHANTOM_NOTICE}
        assert {name: trace.info.tags[name] for name in said} == said
        assert {name: trace.data.spans[0].outputs[name] for name in said} == said
        assert trace.info.response_preview.startswith(RANDOM_WEIGHTS_NOTICE)


def test_a_second_call_adds_nothing_and_changes_nothing():
    run = _run()
    answers, scores = [_answer("a1"), _answer("a2")], {"a1": {"parsed": True}, "a2": {"parsed": False}}
    _log(run, answers, scores=scores)
    before = {row: (trace.info.to_dict(), trace.data.to_dict()) for row, trace in _traces(run).items()}
    _log(run, [*answers, _answer("a1", text="other")], scores=scores)
    assert {row: (trace.info.to_dict(), trace.data.to_dict()) for row, trace in _traces(run).items()} == before


def test_more_than_one_page_of_traces_is_recognised():
    run, answers = _run(), [_answer(f"a{i}") for i in range(501)]
    _log(run, answers)
    client = TracingClient(tracking_uri())
    experiment = client.store.get_run(run.run_id).info.experiment_id
    assert len(tracing._complete_traces(client, experiment, run.run_id)) == 501


def test_rows_that_two_requests_share_are_one_trace_and_two_runs_have_a_trace_each():
    first, second = _run(), _run()
    _log(first, [_answer(case_index=7), _answer(case_index=8)])
    _log(second, [_answer()])
    assert _traces(first)["a1"].info.tags["case"] == "7"
    assert _traces(first)["a1"].info.trace_id != _traces(second)["a1"].info.trace_id


def test_what_a_killed_process_left_half_done_is_completed(monkeypatch):
    """The first call dies between a trace and its contents, as a killed process would."""
    run, log_spans = _run(), TracingClient.log_spans
    answers, scores = [_answer(f"a{i}") for i in range(3)], {f"a{i}": {"parsed": True} for i in range(3)}
    _log(run, answers[:1], scores=scores)

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(TracingClient, "log_spans", die)
    with pytest.raises(KeyboardInterrupt):
        _log(run, answers[:2], scores=scores)
    monkeypatch.setattr(TracingClient, "log_spans", log_spans)
    _log(run, answers, scores=scores)
    traces = _traces(run)
    assert sorted(traces) == ["a0", "a1", "a2"]
    for trace in traces.values():
        (span,) = trace.data.spans
        assert span.start_time_ns == 1_000_000 * trace.info.request_time
        assert [feedback.value for feedback in trace.info.assessments] == [True]


def test_threads_log_into_their_own_runs_and_leave_no_thread_behind():
    tracking.prepare()
    runs, before = [_run() for _ in range(4)], set(threading.enumerate())
    threads = [threading.Thread(target=_log, args=(run, [_answer(f"a{i}") for i in range(5)])) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(_traces(run)) for run in runs] == [[f"a{i}" for i in range(5)]] * 4
    assert set(threading.enumerate()) <= before


def _strategy(**other):
    fields = {
        "name": "structured", "position": 0, "version": 1,
        "description": "Asks for JSON.", "output": "json", "max_new_tokens": 64,
        "system": "You read chest X-rays of children.", "user": "Probability {{probability}}. Describe the picture.",
        "paraphrase": "Say what the picture shows, given {{probability}}.",
    }  # fmt: skip
    return Strategy(**(fields | other))


def test_a_prompt_is_registered_once_until_its_words_change():
    client, name = _client(), "pneumonia-report-structured"
    assert _register([_strategy()]) == {"structured": 1}
    assert _register([_strategy(version=2, description="Other.")]) == {"structured": 1}
    assert _register([_strategy(version=3, user="{{probability}}?")]) == {"structured": 2}
    assert _register([_strategy(version=4, user="{{probability}}?", system=None)]) == {"structured": 3}
    again = _strategy(version=5, user="{{probability}}?", system=None, paraphrase="So, {{probability}}?")
    assert _register([again, again.model_copy(update={"name": "concise"})]) == {
        "structured": 4,
        "concise": 1,
    }
    first, third = client.get_prompt_version(name, 1), client.get_prompt_version(name, 3)
    assert first.template == [
        {"role": "system", "content": "You read chest X-rays of children."},
        {"role": "user", "content": "Probability {{probability}}. Describe the picture."},
    ]
    assert third.template == [{"role": "user", "content": "{{probability}}?"}]
    assert first.tags | {"file_version": "1", "digest": _strategy().digest, "output": "json"} == first.tags
    assert [int(found.version) for found in client.search_prompt_versions(name)] == [4, 3, 2, 1]
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    listed = client.search_prompts(f"experiment_id = '{experiment}'")
    assert {prompt.name for prompt in listed} >= {"pneumonia-report-concise", name}
    client.delete_experiment(experiment)
    assert _register([_strategy(name="zero_shot")]) == {"zero_shot": 1}
    assert client.get_experiment(experiment).lifecycle_stage == "active"


def test_two_processes_at_once_register_each_prompt_once(shared_outputs):
    tracking.prepare()
    code = (
        "import os, sys, time, tests.conftest\n"
        "os.environ['OUTPUTS'] = sys.argv[1]\n"
        "from tasks.tracking import runs as tracking\n"
        "from tests.tasks.tracking.test_traces import _client, _register, _strategy\n"
        "tracking.prepare()\n"
        "_client().get_prompt('none')\n"  # so that neither has to open the store at the moment of the start
        "print('ready', flush=True)\n"
        "time.sleep(float(sys.stdin.readline()) - time.time())\n"
        "print(_register([_strategy(name=f'n{i}') for i in range(6)]))\n"
    )
    command = [sys.executable, "-c", code, str(shared_outputs)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, cwd=CHECKOUT, text=True, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    moment = time.time() + 0.5
    for process in processes:
        process.stdin.write(f"{moment}\n")
        process.stdin.flush()
    for process in processes:
        printed, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        assert printed.strip() == str({f"n{i}": 1 for i in range(6)})
    versions = [_client().search_prompt_versions(f"pneumonia-report-n{i}") for i in range(6)]
    assert [len(found) for found in versions] == [1] * 6


@pytest.fixture
def server(shared_outputs, monkeypatch, server_logs):
    """An MLflow server over the test's store."""
    server_logs.watch(shared_outputs / "server.log")
    tracking.prepare()
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri(), "--port", str(port)]
    with (shared_outputs / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "--workers", "1"], stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=60).close()
                break
            except OSError:
                assert process.poll() is None, (shared_outputs / "server.log").read_text()
                time.sleep(0.25)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(240)


@pytest.mark.e2e
@pytest.mark.usefixtures("server")
def test_a_server_is_told_the_same_once():
    run, strategy = _run(), _strategy(name="served")
    assert _register([strategy]) == _register([strategy]) == {"served": 1}
    answers, image = [_answer("a1"), _answer("a2", report=None, problem="no JSON")], _png(40)
    for _ in range(2):
        _log(run, answers, {"a1": image}, {"a1": {"parsed": True}, "a2": {"parsed": False}})
    traces = _traces(run)
    assert {row: trace.info.state for row, trace in traces.items()} == {"a1": "OK", "a2": "ERROR"}
    values = {row: [feedback.value for feedback in trace.info.assessments] for row, trace in traces.items()}
    assert values == {"a1": [True], "a2": [False]}
    (span,) = traces["a1"].data.spans
    picture = span.inputs["messages"][0]["content"][0]
    assert base64.b64decode(picture["image_url"]["url"].split(",")[1]) == image
    assert (span.end_time_ns - span.start_time_ns) / 1e9 == pytest.approx(1.5)
    assert traces["a1"].info.token_usage["total_tokens"] == 340
