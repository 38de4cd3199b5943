import hashlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from models.errors import InputError
from models.notices import RESEARCH_NOTICE
from models.report_generation.generator import row_of
from models.report_generation.openai_server import generator as module
from models.report_generation.openai_server.generator import OpenAIGenerator
from models.report_generation.openai_server.identification import ServedModel
from models.report_generation.prompting import STRATEGIES, load_strategy, render
from models.report_generation.schema import Case, Request
from tests.conftest import CHECKOUT
from tests.support.openai_stand_in import MODEL, page, stand_in, status

pytestmark = pytest.mark.usefixtures("quick")

IMAGES = np.random.default_rng(0).integers(0, 255, (40, 28, 28), dtype=np.uint8)
DIGESTS = [hashlib.sha256(image.tobytes()).hexdigest() for image in IMAGES]
KEY = "sk-canary-0123456789"


def made(url, strategies=("concise", "structured"), **fields):
    fields = {"image_first": True, "at_once": None, "dataset": "d", "classifier_sha256": "c" * 64, **fields}
    served = ServedModel(url, "vLLM 0.11.0", MODEL, None)
    return OpenAIGenerator(served, tuple(strategies), phantoms=False, **fields)


def asked(generator, count, control="none", strategies=None):
    rows = []
    for index in range(count):
        case = Case(
            index=index, image_sha256=DIGESTS[index], probability=0.7, threshold=0.5, heat_region="no focus",
            heat_share=0,
        )  # fmt: skip
        for strategy in strategies or generator.strategies:
            request = Request(
                case=case, image=index, image_sha256=DIGESTS[index], strategy=strategy, control=control
            )  # fmt: skip
            rows.append(row_of(generator, request))
    return rows


def written(generator, rows, done=None):
    return {one.row_id: one for batch in generator.write(rows, IMAGES, done or {}) for one in batch}


def words(body):
    return body["messages"][-1]["content"][-1]["text"]


def test_every_row_comes_out_once_and_can_be_read():
    with stand_in() as server:
        generator = made(server.url, STRATEGIES)
        rows = asked(generator, 3)
        batches = list(generator.write(rows, IMAGES))
    out = [one for batch in batches for one in batch]
    assert sorted(one.row_id for one in out) == sorted(row.id for row in rows)
    assert len(server.asked) == len(rows)
    by_id = {one.row_id: one for one in out}
    for row in rows:
        one = by_id[row.id]
        assert one.error is None
        assert (one.usage.prompt_tokens, one.usage.generated_tokens, one.usage.peak_gib) == (300, 20, None)
        if row.request.strategy == "yes_no":
            assert (one.text, one.decided_by) == ("Yes", "log-probabilities")
            assert 0.5 < one.score < 1
            assert 0.5 < one.choice_mass < 1
        else:
            report = generator.read(row.request, one.text)
            assert report.label == "normal"
            assert report.provenance.server == f"{server.url} (vLLM 0.11.0)"
            assert (report.provenance.model, report.provenance.precision) == (MODEL, None)
            assert RESEARCH_NOTICE in report.limitations


def test_the_words_limits_and_schemas_are_those_of_the_strategies():
    with stand_in() as server:
        generator = made(server.url, STRATEGIES, at_once=1)
        rows = asked(generator, 1)
        written(generator, rows)
    for row, body in zip(rows, server.asked, strict=True):
        strategy = load_strategy(row.request.strategy)
        assert words(body) == render(strategy, row.request).user
        assert body["max_tokens"] == strategy.max_new_tokens
        assert ("response_format" in body) == (strategy.output == "json")
        assert (body["temperature"], body["seed"], body["model"]) == (0, 0, MODEL)


def test_a_system_message_goes_with_the_strategies_that_have_none_of_their_own():
    with stand_in() as server:
        generator = made(server.url, STRATEGIES, at_once=1, system="You read X-rays.")
        rows = asked(generator, 1)
        written(generator, rows)
    for row, body in zip(rows, server.asked, strict=True):
        own = load_strategy(row.request.strategy).system
        assert body["messages"][0] == {"role": "system", "content": own or "You read X-rays."}
    assert row_of(made(server.url), rows[0].request).id != rows[0].id


def test_no_more_are_in_flight_than_asked_for_and_alone_means_alone():
    with stand_in(delay=0.03) as server:
        written(generator := made(server.url, at_once=3), asked(generator, 5))
        assert server.most_at_once == 3
        server.most_at_once = 0
        written(generator, asked(generator, 2, control="alone"))
        assert server.most_at_once == 1
        written(generator := made(server.url), asked(generator, 8))
        assert server.most_at_once == 8


def test_rows_that_are_done_are_not_asked_for_again():
    with stand_in() as server:
        generator = made(server.url)
        rows = asked(generator, 3)
        done = {row.id: 0 for row in rows[::2]}
        assert written(generator, rows, done).keys() == {row.id for row in rows} - done.keys()
        assert len(server.asked) == len(rows) - len(done)
        assert list(generator.write(rows, IMAGES, {row.id: 0 for row in rows})) == []


def test_a_row_that_the_server_refuses_fails_with_the_servers_words_and_the_others_do_not():
    def fault(body, before):
        return status(400, "the \x1b[31mschema\nis too deep") if "response_format" in body else None

    with stand_in(fault=fault) as server:
        generator = made(server.url)
        rows = asked(generator, 3)
        out = written(generator, rows)
    for row in rows:
        expected = "400: the \\x1b[31mschema is too deep" if row.request.strategy == "structured" else None
        assert out[row.id].error == expected


def test_a_server_that_refuses_everything_ends_the_run_and_costs_no_row_its_turn():
    with stand_in(fault=lambda body, before: status(400, "no pictures here")) as server:
        generator = made(server.url)
        rows = asked(generator, 30)
        kept = []
        with pytest.raises(InputError, match=r"refused .* rows one after the other, .*no pictures here"):
            for batch in generator.write(rows, IMAGES):
                kept += batch
    assert not kept
    assert len(server.asked) < len(rows)


def test_empty_answers_are_the_models_and_end_no_run():
    with stand_in() as server:
        answer = server.completion
        server.completion = lambda body: (
            answer(body) | {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}
        )
        generator = made(server.url)
        out = written(generator, rows := asked(generator, 12, strategies=["concise"]))
    assert [out[row.id].error for row in rows] == ["empty answer"] * 12


@pytest.mark.parametrize("fault", [status(500, "boom"), page])
def test_a_few_rows_that_fail_at_the_end_have_failed(fault):
    with stand_in() as server:
        generator = made(server.url, at_once=1)
        rows = asked(generator, 2, strategies=["concise"])
        server.fault = lambda body, before: fault if len(server.answered) >= 1 else None
        out = written(generator, rows)
    assert [out[row.id].error is None for row in rows] == [True, False]


def test_what_ends_the_run_loses_nothing_that_was_answered():
    with stand_in() as server:
        server.fault = lambda body, before: status(401, "expired") if len(server.answered) >= 4 else None
        generator = made(server.url, at_once=2)
        kept = []
        with pytest.raises(InputError, match="does not accept the key"):
            for batch in generator.write(asked(generator, 9), IMAGES):
                kept += batch
    assert len(kept) == len(server.answered) == 4


def test_an_interrupt_ends_the_requests_in_flight_and_the_connection():
    with stand_in() as server:
        generator = made(server.url, at_once=2)
        batches = generator.write(asked(generator, 9), IMAGES)
        next(batches)
        server.delay = 60
        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
        assert threading.active_count() <= before  # that of the event loop has ended


def test_what_decides_the_texts_is_the_servers_word_for_server_version_and_model():
    base = made("http://h/v1")
    row = asked(base, 1)[0]
    for served in (
        ServedModel("http://other/v1", "vLLM 0.11.0", MODEL, None),
        ServedModel("http://h/v1", "vLLM 0.12.0", MODEL, None),
        ServedModel("http://h/v1", "vLLM 0.11.0", "other", None),
        ServedModel("http://h/v1", "vLLM 0.11.0", MODEL, "other weights"),
    ):
        other = OpenAIGenerator(served, base.report_strategies, True, None, "d", "c" * 64, False)
        assert row_of(other, row.request).id != row.id
    same = made("http://h/v1", at_once=2, key=KEY, dataset="e")
    assert row_of(same, row.request).id == row.id
    assert same.identity == base.identity


def test_a_key_is_in_no_text_of_the_generator():
    generator = made("http://h/v1", key=KEY)
    assert KEY not in f"{generator!r}{generator.identity}"
    assert generator == made("http://h/v1")


def test_the_yes_or_no_question_asks_for_no_report():
    generator = made("http://h/v1")
    with pytest.raises(ValueError, match="yes_no asks for no report"):
        generator.read(asked(generator, 1, strategies=["yes_no"])[0].request, "Yes")


def test_planning_and_reading_import_no_client():
    code = (
        "import sys; from tests.models.report_generation.openai_server.test_generator import made;"
        "g = made('http://h/v1'); g.prompts, g.settings('concise'), g.code; print('openai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_bound_on_failures_is_not_below_what_is_in_flight():
    assert module.FAILURES_IN_A_ROW >= module.AT_ONCE
