"""The engine on real weights and the real tokenizer of 262,145 tokens: nothing here says how good a text is."""

import json
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.controls import CONTROLS, control_case
from models.report_generation.conventions import CONVENTIONS
from models.report_generation.generator import row_of
from models.report_generation.medgemma.attention_check import LARGEST_GAPS, padding_gap
from models.report_generation.medgemma.checkpoint import LoadedModel
from models.report_generation.medgemma.engine import Engine, Prompt
from models.report_generation.medgemma.generator import MedGemmaGenerator
from models.report_generation.medgemma.thinking import ThoughtMarks, thought_marks
from models.report_generation.parsing import report_json_schema
from models.report_generation.prompting import STRATEGIES, YES_NO
from models.report_generation.schema import Case, NeighbourEvidence, Request

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
CASE = Case(
    index=5, image_sha256="", probability=0.8, threshold=0.46, heat_region="centre", heat_share=0.3,
    neighbours=(NeighbourEvidence(index=3, label="pneumonia", similarity=0.91, split="train"),),
)  # fmt: skip


@pytest.fixture(scope="module")
def generator(loaded: LoadedModel, monkeymodule: pytest.MonkeyPatch) -> MedGemmaGenerator:
    monkeymodule.setattr("models.report_generation.medgemma.checkpoint.loaded_model", lambda *_: loaded)
    return MedGemmaGenerator(
        loaded.source, "fp32", "cpu", STRATEGIES, False, None, "pneumoniamnist", "c" * 64, phantoms=False
    )


@pytest.fixture(scope="module")
def monkeymodule() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def request(strategy: str, image: int | None = 0, control: str = "none") -> Request:
    return Request(
        case=control_case(control, CASE), image=image, image_sha256=str(image), strategy=strategy, control=control
    )


def as_the_processor_has_it(loaded: LoadedModel, prompt: Prompt) -> Any:
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt.text}]
    if prompt.image is not None:
        picture = Image.fromarray(IMAGES[prompt.image]).convert("RGB")
        content.insert(0 if prompt.image_first else 1, {"type": "image", "image": picture})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if prompt.system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": prompt.system}]})
    return loaded.processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )


def test_special_tokens_are_those_of_gemma(loaded: LoadedModel):
    tokenizer = loaded.processor.tokenizer
    assert len(tokenizer) == 262145
    assert loaded.model.config.text_config.vocab_size == 262208
    assert loaded.stop_tokens == (1, 106)
    assert tokenizer.image_token_id == 262144
    assert thought_marks(tokenizer) == ThoughtMarks(100, 101)
    assert [tokenizer.encode(word, add_special_tokens=False) for word in ("Yes", "No")] == [[10784], [3771]]


@pytest.mark.parametrize("release", list(CONVENTIONS))
@pytest.mark.parametrize("strategy", [*STRATEGIES, YES_NO])
def test_the_tokens_of_every_prompt_are_the_processors(
    loaded: LoadedModel, generator: MedGemmaGenerator, strategy: str, release: str
):
    fields = {name: getattr(generator, name) for name in generator.__dataclass_fields__}
    asking = MedGemmaGenerator(
        **fields | {"conventions": release, "image_first": CONVENTIONS[release].image_first}  # type: ignore[index]
    )
    engine = Engine(loaded)
    for control in ("none", *CONTROLS):
        asked = request(strategy, None if control == "no_image" else 0, control)
        prompt = asking._asked(row_of(asking, asked))
        tokens = engine._tokens(prompt, len(IMAGES))
        assert list(tokens) == as_the_processor_has_it(loaded, prompt)["input_ids"][0].tolist()
        assert tokens.count(262144) == (0 if prompt.image is None else loaded.processor.image_seq_length)


def test_padding_moves_real_logits_by_rounding_alone(loaded: LoadedModel):
    assert loaded.attention == "sdpa"
    assert padding_gap(loaded.model, loaded.processor) < LARGEST_GAPS["fp32"] / 10


def test_choices_have_the_probabilities_of_one_pass_with_pixels(loaded: LoadedModel, generator: MedGemmaGenerator):
    rows = [row_of(generator, request(YES_NO, image)) for image in (0, 1, None)]
    written = {one.row_id: one for batch in generator.write(rows, IMAGES) for one in batch}
    for row in rows:
        found, inputs = written[row.id], as_the_processor_has_it(loaded, generator._asked(row))
        with torch.no_grad():
            logits = loaded.model(**inputs).logits[0, -1].double()
        logits[100] = -torch.inf  # the mark that opens a thought
        shares = logits.softmax(0)
        yes, no = shares[10784].item(), shares[3771].item()
        assert found.score == pytest.approx(yes / (yes + no), abs=1e-4)
        assert found.choice_mass == pytest.approx(yes + no, rel=1e-3)
        assert found.usage.prompt_tokens == inputs["input_ids"].shape[1]
        assert (found.usage.generated_tokens, found.usage.attention) == (1, "sdpa")


def test_free_text_is_what_the_library_writes_one_at_a_time_and_every_token_is_counted(loaded: LoadedModel):
    prompts = [
        Prompt(str(i), text, image=image, image_first=bool(i % 2), max_new_tokens=24)
        for i, (text, image) in enumerate(
            [("Write one sentence about a child's chest.", 0), ("What is a lung? " * 9, None), ("Lungs are", 1)]
        )
    ]
    found = {one.key: one for batch in Engine(loaded).run(prompts, IMAGES) for one in (*batch.completions,)}
    assert found  # a base model may also say nothing
    for prompt in prompts:
        inputs = as_the_processor_has_it(loaded, prompt)
        with torch.inference_mode():
            written = loaded.model.generate(
                **inputs, do_sample=False, max_new_tokens=24, eos_token_id=[1, 106], suppress_tokens=[100, 101]
            )
        tokens = tuple(written[0, inputs["input_ids"].shape[1] :].tolist())
        text = loaded.processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert (prompt.key in found) == bool(text)
        if text:
            answer = found[prompt.key]
            assert (answer.token_ids, answer.text) == (tokens, text)
            assert answer.prompt_tokens == inputs["input_ids"].shape[1]
            assert answer.generated_tokens == len(tokens)
            assert answer.finish_reason == ("stop" if tokens[-1] in (1, 106) else "length")


def test_a_structured_report_is_json_of_its_schema_and_can_be_read(generator: MedGemmaGenerator):
    rows = [
        row_of(generator, request(strategy, image)) for strategy in ("structured", "context_aware") for image in (0, 1)
    ]
    written = {one.row_id: one for batch in generator.write(rows, IMAGES) for one in batch}
    for row in rows:
        found = written[row.id]
        assert found.error is None
        assert found.usage.finish_reason == "stop"
        assert found.usage.thought_tokens == 0
        jsonschema.validate(json.loads(found.text), json.loads(report_json_schema()))
        report = generator.read(row.request, found.text)
        assert report.limitations[0] == RANDOM_WEIGHTS_NOTICE
        assert report.provenance.random_weights


def test_a_thought_is_held_to_its_budget_before_a_structured_report(loaded: LoadedModel):
    """The base model does not think by itself: the mark's logit is raised, and so it begins."""

    def begin(module: torch.nn.Module, arguments: Any, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        logits[..., 100] += 1000
        return logits

    schema = {"type": "object", "properties": {"label": {"enum": ["normal", "pneumonia"]}}, "required": ["label"]}
    schema["additionalProperties"] = False
    hook = loaded.model.lm_head.register_forward_hook(begin)
    try:
        prompts = [
            Prompt(text, text, image=0, max_new_tokens=30, thinking_tokens=budget, json_schema=json.dumps(schema))
            for text, budget in (("Is it normal?", 12), ("Normal?", 12), ("Answer.", 0))
        ]
        found = {one.key: one for batch in Engine(loaded).run(prompts, IMAGES) for one in batch.completions}
    finally:
        hook.remove()
    for prompt in prompts:
        answer = found[prompt.key]
        jsonschema.validate(json.loads(answer.text), schema)
        assert answer.thought_tokens == prompt.thinking_tokens
        assert (answer.token_ids[0] == 100) == (answer.token_ids.count(101) == 1) == bool(prompt.thinking_tokens)
