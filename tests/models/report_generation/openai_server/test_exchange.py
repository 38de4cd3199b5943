import asyncio
import base64
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from models.report_generation.openai_server.exchange import (
    NoCompletionError,
    Prompt,
    RefusedError,
    ask,
    image_url,
    request,
)

PICTURE = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
QUESTION = Prompt("Is it?", image=PICTURE, choices=("Yes", "No"))


def reply(content="Fine.", *, reason="stop", listed=None, **message):
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": reason}
    if listed is not None:
        tokens = [{"token": token, "logprob": value} for token, value in listed]
        choice["logprobs"] = {"content": [{**tokens[0], "top_logprobs": tokens}]}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def answered(prompt, *replies):
    """Ask with replies in turn; an error among them is raised. Return what came of it and what was sent."""
    sent, waiting = [], list(replies)

    async def send(body):
        sent.append(body)
        now = waiting.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    completion = asyncio.run(ask(send, "m", prompt))
    assert not waiting
    return completion, sent


def test_a_picture_is_sent_as_a_png_of_its_own_size_and_pixels():
    kind, _, data = image_url(PICTURE).partition(",")
    assert kind == "data:image/png;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(decoded, np.repeat(PICTURE[:, :, None], 3, axis=2))


@pytest.mark.parametrize("image_first", [True, False])
def test_picture_and_words_stand_in_the_order_that_is_asked_for(image_first):
    body = request("m", Prompt("Report.", system="Be brief.", image=PICTURE, image_first=image_first, max_tokens=192))
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    kinds = [part["type"] for part in user["content"]]
    assert kinds == (["image_url", "text"] if image_first else ["text", "image_url"])
    assert {**body, "messages": None} == {
        "model": "m", "messages": None, "temperature": 0, "seed": 0, "max_tokens": 192,
    }  # fmt: skip


def test_without_a_picture_the_message_is_its_words():
    assert request("m", Prompt("Report."))["messages"] == [{"role": "user", "content": "Report."}]


def test_a_schema_becomes_a_strict_response_format():
    asked = request("m", Prompt("Report.", json_schema='{"type": "object"}'))["response_format"]
    assert asked == {
        "type": "json_schema", "json_schema": {"name": "report", "strict": True, "schema": {"type": "object"}},
    }  # fmt: skip


@pytest.mark.parametrize(("reason", "mapped"), [("stop", "stop"), ("length", "length"), (None, "stop")])
def test_a_text_comes_with_its_tokens_and_its_end(reason, mapped):
    completion, sent = answered(Prompt("Report."), reply("  Fine. \n", reason=reason))
    assert (completion.text, completion.finish_reason) == ("Fine.", mapped)
    assert (completion.prompt_tokens, completion.generated_tokens) == (7, 3)
    assert completion.probability is completion.choice_mass is completion.decided_by is None
    assert len(sent) == 1


def test_tokens_of_a_thought_are_told_apart():
    body = reply()
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 2}
    assert answered(Prompt("Report."), body)[0].thought_tokens == 2


def test_the_question_is_answered_by_the_probabilities_of_all_spellings_of_both_words():
    listed = [
        ("Yes", -1.0),
        (" yes", -2.0),
        ("▁No", -1.5),
        ("No", -4.0),
        ("Maybe", -0.1),
        ("Nothing", -0.2),
        ("Y", -1.0),
    ]
    completion, sent = answered(QUESTION, reply("Yes", reason="length", listed=listed))
    yes, no = math.exp(-1.0) + math.exp(-2.0), math.exp(-1.5) + math.exp(-4.0)
    assert completion.probability == pytest.approx(yes / (yes + no))
    assert completion.choice_mass == pytest.approx(yes + no)
    assert (completion.text, completion.decided_by, completion.finish_reason) == ("Yes", "log-probabilities", "stop")
    (body,) = sent
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    assert "response_format" not in body


def test_the_likelier_word_is_the_text():
    completion, _ = answered(QUESTION, reply("Yes", listed=[("Yes", -3.0), ("No", -1.0)]))
    assert completion.text == "No"
    assert completion.probability == pytest.approx(math.exp(-3) / (math.exp(-3) + math.exp(-1)))


def test_a_word_that_is_not_listed_counts_as_nothing():
    completion, _ = answered(QUESTION, reply("No", listed=[("No", -0.1), ("The", -3.0)]))
    assert (completion.probability, completion.choice_mass) == (0, pytest.approx(math.exp(-0.1)))


@pytest.mark.parametrize("impossible", [0.1, 800.0, math.nan, "9" * 400])
def test_a_probability_above_one_is_none(impossible):
    said = reply("Yes", listed=[("Yes", impossible), ("No", -1.0)])
    with pytest.raises(
        RefusedError, match=r"no chat completion was answered: choices\.0\.logprobs\.content\.0\.logprob"
    ):
        answered(Prompt("Is it?"), said)


@pytest.mark.parametrize(
    "first",
    [
        reply("<h1>", listed=[("<h1>", -1.0), ("The", -2.0)]),
        reply("Yes"),
        reply(None, reason="length"),
        RefusedError("400: logprobs are not supported"),
    ],
    ids=["neither word listed", "no log-probabilities", "an empty answer", "log-probabilities refused"],
)
def test_without_probabilities_the_server_has_to_choose(first):
    completion, sent = answered(QUESTION, first, reply('{"answer": "No"}'))
    assert (completion.text, completion.probability, completion.choice_mass) == ("No", 0.0, None)
    assert completion.decided_by == "structured choice"
    assert completion.prompt_tokens == (7 if isinstance(first, Exception) else 14)
    schema = sent[1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["Yes", "No"]
    assert json.dumps(sent[0]["messages"]) == json.dumps(sent[1]["messages"])


@pytest.mark.parametrize(
    ("written", "probability"),
    [('{"answer": "Yes"}', 1.0), ("Yes.", 1.0), ('{ "answer" : "No"\n\n\n', 0.0)],
)
def test_a_choice_is_read_where_its_object_is_missing_or_cut_off(written, probability):
    assert answered(QUESTION, reply("?"), reply(written))[0].probability == probability


@pytest.mark.parametrize("written", ['{"answer": "Perhaps"}', "I have no idea, yes?", "{}"])
def test_what_is_no_choice_is_none(written):
    with pytest.raises(NoCompletionError, match="neither Yes nor No"):
        answered(QUESTION, reply("?"), reply(written))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (reply(""), "empty answer"),
        (reply(None), "empty answer"),
        (reply("", refusal="I cannot help with that"), "declined: I cannot help"),
        (reply("", refusal="9" * 400), "declined: 9999"),
        (reply("Fi", reason="content_filter"), "content_filter"),
    ],
)
def test_what_holds_no_text_is_said(body, told):
    with pytest.raises(NoCompletionError, match=told) as refused:
        answered(Prompt("Report."), body)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"choices": []}, "choices is empty"),
        ({"error": "nothing"}, "no chat completion was answered: choices"),
        ([1], "no chat completion"),
        (None, "no chat completion"),
    ],
)
def test_what_is_no_chat_completion_is_the_servers_fault(body, told):
    with pytest.raises(RefusedError, match=told):
        answered(Prompt("Report."), body)
