import pytest

from models.errors import InputError
from models.report_generation.openai_server.identification import ServedModel, identify
from tests.support.openai_stand_in import MODEL, drop, stand_in, status

pytestmark = pytest.mark.usefixtures("quick")


def found(server, model=MODEL, key=None):
    return identify(server.url, model, key)


def models(*entries):
    return {"/v1/models": {"data": list(entries)}}


@pytest.mark.parametrize(
    ("pages", "version"),
    [
        ({"/version": {"version": "0.11.0"}}, "vLLM 0.11.0"),
        ({"/props": {"build_info": "b7000-abc"}}, "llama.cpp b7000-abc"),
        ({"/api/version": {"version": "0.12.11"}}, "Ollama 0.12.11"),
        ({"/server_info": {"version": "0.5.4"}}, "SGLang 0.5.4"),
        ({"/version": ["?"]}, "unknown version"),
        ({}, "unknown version"),
    ],
)
def test_the_version_is_what_the_servers_page_says(pages, version):
    with stand_in(pages=pages) as server:
        assert found(server) == ServedModel(server.url, version, MODEL, None)


def test_without_such_a_page_the_answer_itself_may_tell_the_version_and_the_model():
    with stand_in() as server:
        answer = server.completion
        server.completion = lambda body: answer(body) | {"system_fingerprint": "fp_1", "model": f"{MODEL}-2026-11-01"}
        assert found(server) == ServedModel(server.url, "fingerprint fp_1", MODEL, f"{MODEL}-2026-11-01")


@pytest.mark.parametrize(
    ("entry", "revision"),
    [
        ({"id": MODEL, "root": "google/medgemma-4b-it"}, "google/medgemma-4b-it"),
        ({"id": MODEL, "root": MODEL}, None),
        ({"id": MODEL, "created": 1}, None),
        (
            {"id": MODEL, "meta": {"n_params": 5, "size": 7, "ftype": "Q4_K", "n_ctx": 9}},
            "5 parameters, 7 bytes, Q4_K",
        ),
        ({"id": "other", "aliases": [MODEL]}, None),
        ({"id": f"{MODEL}:latest"}, None),
    ],
)
def test_the_revision_is_what_the_list_says_of_the_weights_and_not_of_the_hour(entry, revision):
    with stand_in(pages=models({"id": "first"}, entry)) as server:
        assert found(server).revision == revision


def test_ollama_tells_the_digest_of_the_weights():
    tags = {"models": [{"name": f"{MODEL}:latest", "digest": "ab" * 32}]}
    with stand_in(pages={"/api/version": {"version": "1"}, "/api/tags": tags}) as server:
        assert found(server).revision == f"sha256:{'ab' * 32}"


def test_the_same_server_says_the_same_twice():
    with stand_in() as server:
        assert found(server) == found(server)


def test_a_trial_shows_a_picture_and_wants_one_token():
    with stand_in() as server:
        found(server)
    (body,) = server.asked
    assert body["max_tokens"] == 1
    assert body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_model_that_the_server_does_not_offer_is_one_sentence_with_those_that_it_does():
    with (
        stand_in(pages=models(*({"id": f"m{i}"} for i in range(7)))) as server,
        pytest.raises(
            InputError, match=r"has no model small-model: it offers m0, m1, m2, m3, m4 and 2 more; choose one"
        ),
    ):
        found(server)


@pytest.mark.parametrize("listing", [{"/v1/models": "?"}, {"/v1/models": {"data": "?"}}, {"/v1/models": {"data": [3]}}])
def test_a_server_without_a_list_is_believed_to_have_the_model(listing):
    with stand_in(pages=listing) as server:
        assert found(server).model == MODEL


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(500, "image input is not supported"), "does not answer a question about a picture: 500: image input"),
        (status(404, "model not found"), "knows no such model or address.*404: model not found"),
        (drop, "cannot be reached"),
    ],
)
def test_a_server_that_cannot_do_it_is_one_sentence(fault, told):
    with stand_in(fault=lambda body, before: fault) as server, pytest.raises(InputError, match=told):
        found(server)


def test_a_wrong_key_is_one_sentence_before_anything_is_asked():
    with stand_in(key="right") as server, pytest.raises(InputError, match="does not accept the key"):
        found(server, key="wrong")
    assert not server.asked


def test_a_server_that_is_busy_for_a_moment_is_waited_for():
    with stand_in(fault=lambda body, before: status(503, "loading") if before == 0 else None) as server:
        assert found(server).model == MODEL
