import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CompileConfig
from transformers.utils import logging as transformers_logging

from models.errors import InputError
from models.report_generation.medgemma import faults
from models.report_generation.medgemma.checkpoint import LoadedModel, load_model, resolve_source
from models.report_generation.medgemma.engine import Completion, Engine, Failure, Prompt, require_compilable

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
TEXTS = (
    "label",
    "What does the chest radiograph of a child show?",
    "Findings, impression and label please. " * 4,  # longer than the sliding window of 64 tokens
)
YES_NO = ("Yes", "No")
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["normal", "pneumonia"]}, "certain": {"type": "boolean"}},
    "required": ["label", "certain"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LoadedModel:
    torch.set_num_threads(1)
    return load_model(resolve_source(str(small_checkpoint), None, None), "fp32", "cpu", None)


def mixed_prompts(**settings: Any) -> list[Prompt]:
    """All images and none, three lengths, image first and text first, with and without a system message."""
    return [
        Prompt(f"{image} {i} {first} {system}", text, system, image, first, **({"max_new_tokens": 12} | settings))
        for image in (0, 1, 2, None)
        for i, text in enumerate(TEXTS)
        for first, system in ((True, None), (False, "You read radiographs of children."))
    ]


def answers(loaded: LoadedModel, prompts: list[Prompt], batch_size: int | None = None) -> dict[str, Completion]:
    finished = list(Engine(loaded, batch_size).run(prompts, IMAGES))
    assert not [failure for batch in finished for failure in batch.failures]
    return {completion.key: completion for batch in finished for completion in batch.completions}


def naive_inputs(loaded: LoadedModel, prompt: Prompt) -> Any:
    """What the library's documentation does with one prompt and one RGB picture."""
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt.text}]
    if prompt.image is not None:
        picture = Image.fromarray(IMAGES[prompt.image]).convert("RGB")
        content.insert(0 if prompt.image_first else 1, {"type": "image", "image": picture})
    messages = [{"role": "user", "content": content}]
    if prompt.system:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": prompt.system}]})
    return loaded.processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )


def naive_tokens(loaded: LoadedModel, prompt: Prompt) -> tuple[int, ...]:
    inputs = naive_inputs(loaded, prompt)
    with torch.inference_mode():
        written = loaded.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=prompt.max_new_tokens,
            eos_token_id=list(loaded.stop_tokens),
        )
    return tuple(written[0, inputs["input_ids"].shape[1] :].tolist())


@contextmanager
def hooked(module: torch.nn.Module, before: Callable | None = None, after: Callable | None = None) -> Iterator[None]:
    hooks = [module.register_forward_pre_hook(before, with_kwargs=True)] if before else []
    hooks += [module.register_forward_hook(after)] if after else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def test_a_batch_writes_what_the_library_writes_one_at_a_time(loaded: LoadedModel):
    prompts = mixed_prompts()
    written = answers(loaded, prompts)
    assert {key: answer.token_ids for key, answer in written.items()} == {
        prompt.key: naive_tokens(loaded, prompt) for prompt in prompts
    }
    assert {key: answer.prompt_tokens for key, answer in written.items()} == {
        prompt.key: naive_inputs(loaded, prompt)["input_ids"].shape[1] for prompt in prompts
    }
    assert max(answer.batch_size for answer in written.values()) == len(prompts)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_texts_do_not_depend_on_the_batch_size(loaded: LoadedModel, batch_size: int):
    choosing = [dataclasses.replace(prompt, key=f"choice {prompt.key}") for prompt in mixed_prompts(choices=YES_NO)]
    prompts = [*mixed_prompts(), *choosing]
    whole, split = answers(loaded, prompts), answers(loaded, prompts, batch_size)
    assert {answer.batch_size for answer in split.values()} <= set(range(1, batch_size + 1))
    for key, answer in whole.items():
        assert split[key].token_ids == answer.token_ids
        assert split[key].text == answer.text
        assert split[key].probability == pytest.approx(answer.probability, abs=1e-5)


def test_rows_that_stop_at_different_times_are_counted_up_to_their_stop_token(loaded: LoadedModel):
    prompts = mixed_prompts(max_new_tokens=20)
    common = [answer.token_ids[i] for answer in answers(loaded, prompts).values() for i in (7, 11)]
    stopping = dataclasses.replace(loaded, stop_tokens=tuple(sorted({common[0], common[5], common[-1]})))
    finished = list(Engine(stopping).run(prompts, IMAGES))
    written = {c.key: c for batch in finished for c in batch.completions}
    empty = {f.key for batch in finished for f in batch.failures}
    for prompt in prompts:
        expected = naive_tokens(stopping, prompt)
        text = loaded.processor.decode(expected, skip_special_tokens=True).strip()
        assert (prompt.key in empty) == (not text)
        if text:
            answer = written[prompt.key]
            assert answer.token_ids == expected
            assert answer.text == text
            assert answer.generated_tokens == len(expected)
            assert answer.finish_reason == ("stop" if expected[-1] in stopping.stop_tokens else "length")
    assert {answer.finish_reason for answer in written.values()} == {"stop", "length"}
    assert len({answer.generated_tokens for answer in written.values()}) > 2


def test_an_empty_text_is_a_failure(loaded: LoadedModel):
    def end_at_once(module: torch.nn.Module, arguments: Any, logits: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(logits).index_fill(-1, torch.tensor([loaded.stop_tokens[0]]), 1)

    with hooked(loaded.model.lm_head, after=end_at_once):
        (finished,) = Engine(loaded).run([Prompt("a", TEXTS[0], image=0)], IMAGES)
    assert finished.failures == (Failure("a", "empty answer"),)
    assert not finished.completions


def test_each_image_is_encoded_once(loaded: LoadedModel):
    encoded = []

    def count(module: torch.nn.Module, arguments: tuple, named: dict) -> None:
        encoded.append(len(named["pixel_values"]))

    prompts = [Prompt(str(i), TEXTS[i % 2], image=i % 3, max_new_tokens=1 + i // 6) for i in range(12)]
    with hooked(loaded.model.model.vision_tower, count):
        answers(loaded, prompts, batch_size=2)
    assert sum(encoded) == 3


def test_the_image_and_its_place_matter(loaded: LoadedModel):
    asked = Prompt("", TEXTS[1], choices=YES_NO)
    variants = {
        "image 0": dataclasses.replace(asked, image=0),
        "image 1": dataclasses.replace(asked, image=1),
        "text first": dataclasses.replace(asked, image=0, image_first=False),
        "no image": asked,
    }
    written = answers(loaded, [dataclasses.replace(prompt, key=key) for key, prompt in variants.items()])
    probabilities = sorted(answer.probability for answer in written.values())
    assert min(np.diff(probabilities)) > 1e-5
    assert written["image 0"].prompt_tokens == written["text first"].prompt_tokens > written["no image"].prompt_tokens


def test_choices_have_the_probability_of_a_full_forward_pass(loaded: LoadedModel):
    prompts = mixed_prompts(choices=YES_NO)
    yes, no = (loaded.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in YES_NO)
    for key, answer in answers(loaded, prompts).items():
        with torch.inference_mode():
            logits = loaded.model(**naive_inputs(loaded, next(p for p in prompts if p.key == key))).logits[0, -1]
        expected = (logits[yes].exp() / (logits[yes].exp() + logits[no].exp())).item()
        assert answer.probability == pytest.approx(expected, abs=1e-5)
        assert answer.text == ("Yes" if expected >= 0.5 else "No")
        assert (answer.generated_tokens, answer.finish_reason) == (1, "stop")


@pytest.mark.parametrize("choices", [("Yes", "Yes"), ("Yes", "Yes please"), ("", "No")])
def test_choices_that_begin_alike_are_refused(loaded: LoadedModel, choices: tuple[str, str]):
    with pytest.raises(ValueError, match="do not differ in their first token"):
        list(Engine(loaded).run([Prompt("a", "Is it?", choices=choices)], IMAGES))


def test_choices_without_finite_logits_fail(loaded: LoadedModel):
    def overflow(module: torch.nn.Module, arguments: Any, logits: torch.Tensor) -> torch.Tensor:
        return torch.cat([logits[:1] * float("nan"), logits[1:]])

    prompts = [Prompt(str(i), text, image=0, choices=YES_NO) for i, text in enumerate(TEXTS)]
    with hooked(loaded.model.lm_head, after=overflow):
        (finished,) = Engine(loaded).run(prompts, IMAGES)
    assert finished.failures == (Failure("2", "the logits of the choices are not finite"),)  # the longest comes first
    assert [answer.key for answer in finished.completions] == ["1", "0"]


def test_constrained_answers_satisfy_their_schema_in_any_batch(loaded: LoadedModel):
    prompts = mixed_prompts(json_schema=json.dumps(SCHEMA), max_new_tokens=40)
    together, apart = answers(loaded, prompts), answers(loaded, prompts, 1)
    for key, answer in together.items():
        assert answer.finish_reason == "stop"
        jsonschema.validate(json.loads(answer.text), SCHEMA)
        assert apart[key].token_ids == answer.token_ids
    assert len({answer.generated_tokens for answer in together.values()}) > 1


def test_a_constrained_answer_may_reach_its_limit(loaded: LoadedModel):
    (answer,) = answers(loaded, [Prompt("a", "go", json_schema=json.dumps(SCHEMA), max_new_tokens=5)]).values()
    assert answer.finish_reason == "length"
    assert answer.generated_tokens == 5


def test_settings_and_company_part_batches(loaded: LoadedModel):
    plain = [Prompt(f"plain {i}", text, image=0, max_new_tokens=2) for i, text in enumerate(TEXTS)]
    alone = [Prompt(f"alone {i}", text, image=0, max_new_tokens=2, company=str(i)) for i, text in enumerate(TEXTS)]
    longer = [Prompt("longer", TEXTS[0], image=0, max_new_tokens=3)]
    batches = [
        {answer.key: answer.batch_size for answer in batch.completions}
        for batch in Engine(loaded).run([*alone, *plain, *longer], IMAGES)
    ]
    assert batches == [
        {"alone 0": 1}, {"alone 1": 1}, {"alone 2": 1}, {"plain 2": 3, "plain 1": 3, "plain 0": 3}, {"longer": 1},
    ]  # fmt: skip


def test_a_batch_is_handed_over_before_the_next_one_begins(loaded: LoadedModel):
    passes = []
    with hooked(loaded.model, lambda module, arguments, named: passes.append(1)):
        batches = Engine(loaded, 2).run([Prompt(str(i), TEXTS[0], image=i, choices=YES_NO) for i in range(4)], IMAGES)
        assert passes == []
        next(batches)
        assert len(passes) == 1
        next(batches)
        assert len(passes) == 2


@pytest.mark.parametrize("count", [2, 3, 24])
def test_other_companions_are_others(loaded: LoadedModel, count: int):
    """Even where the prompts under the control are the only ones beside the plain ones."""
    asked = [Prompt(f"plain {i}", TEXTS[i % 3], image=i % 5, max_new_tokens=8) for i in range(count)]
    again = [dataclasses.replace(one, key=one.key.replace("plain", "again"), company="companions") for one in asked]
    company: dict[str, frozenset[str]] = {}
    texts: dict[str, str] = {}
    for batch in Engine(loaded).run([*asked, *again], IMAGES):
        names = frozenset(answer.key.split()[1] for answer in batch.completions)
        company |= {answer.key: names for answer in batch.completions}
        texts |= {answer.key: answer.text for answer in batch.completions}
    for i in range(count):
        assert company[f"again {i}"] != company[f"plain {i}"]
        assert texts[f"again {i}"] == texts[f"plain {i}"]  # in fp32
    assert len({company[one.key] for one in again}) == 2


def test_a_run_that_goes_on_elsewhere_makes_the_batches_of_an_undisturbed_one(loaded: LoadedModel):
    """Killed after each batch in turn; the memory of the first machine is short once, that of the second is not."""
    prompts = [
        *mixed_prompts(max_new_tokens=2),
        *(Prompt(f"c {i}", TEXTS[1], image=i, choices=YES_NO) for i in range(5)),
    ]

    def short_once() -> Callable:
        calls = []

        def check(module: torch.nn.Module, arguments: tuple, named: dict) -> None:
            calls.append(arguments[0].shape)
            if len(calls) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

        return check

    with hooked(loaded.model.get_input_embeddings(), short_once()):
        undisturbed = list(Engine(loaded, 16).run(prompts, IMAGES))
    assert [len(batch.completions) for batch in undisturbed] == [8, 8, 8, 5]
    for killed in range(1, len(undisturbed) + 1):
        done = {answer.key: batch.batch_limit for batch in undisturbed[:killed] for answer in batch.completions}
        resumed = list(Engine(loaded, 16).run(prompts, IMAGES, done))
        for found, expected in zip(resumed, undisturbed[killed:], strict=True):
            assert [(a.key, a.text, a.batch_size) for a in found.completions] == [
                (a.key, a.text, a.batch_size) for a in expected.completions
            ]


def test_compiled_decoding_writes_the_same_tokens_and_few_graphs(
    small_checkpoint: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    """Compiled on a CPU, which transformers does only when told to; graphs are run as they were traced."""
    graphs, prompts = [], mixed_prompts()
    prompts += [Prompt("json", TEXTS[0], image=0, json_schema=json.dumps(SCHEMA), max_new_tokens=40)]
    expected = answers(loaded, prompts, 16)

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable:
        graphs.append([tuple(each.shape) for each in inputs if torch.is_tensor(each)])
        return graph.forward

    settings = CompileConfig(backend=backend, fullgraph=True, mode=None)
    settings._compile_all_devices = True
    fresh = load_model(resolve_source(str(small_checkpoint), None, None), "fp32", "cpu", None)
    monkeypatch.setattr(fresh.model.generation_config, "compile_config", settings)
    torch._dynamo.reset()

    def compiled(asked: list[Prompt]) -> dict[str, Completion]:
        run = Engine(fresh, 16, compiled=True).run(asked, IMAGES)
        return {answer.key: answer for batch in run for answer in batch.completions}

    found = compiled(prompts)
    assert {key: (a.token_ids, a.batch_size) for key, a in found.items()} == {
        key: (a.token_ids, a.batch_size) for key, a in expected.items()
    }
    assert graphs
    made = len(graphs)
    compiled(prompts[:15])  # other rows and widths
    assert len(graphs) == made


def test_what_is_quantized_is_not_compiled():
    with pytest.raises(InputError, match="bitsandbytes has quantized"):
        require_compilable("nf4")
    require_compilable("bf16")


def test_running_out_of_memory_halves_batches(loaded: LoadedModel):
    prompts = mixed_prompts(max_new_tokens=4)
    expected = answers(loaded, prompts)
    tried: dict[str, list[int]] = {"prompts": [], "images": []}

    def small_memory(name: str, most: int) -> Callable:
        def check(module: torch.nn.Module, arguments: tuple, named: dict) -> None:
            tensors = [value for value in (*arguments, *named.values()) if torch.is_tensor(value)]
            tried[name].append(tensors[0].shape[0])
            if tensors[0].shape[0] > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

        return check

    with (
        hooked(loaded.model.get_input_embeddings(), small_memory("prompts", 3)),
        hooked(loaded.model.model.vision_tower, small_memory("images", 1)),
    ):
        written = answers(loaded, prompts, 16)
        assert {key: a.token_ids for key, a in written.items()} == {key: a.token_ids for key, a in expected.items()}
    assert max(answer.batch_size for answer in written.values()) == 2
    assert [size for size in tried["prompts"] if size > 3] == [16, 8, 4]
    assert tried["images"] == [3, 2, 1, 1, 1]


def test_an_image_that_cannot_be_encoded_fails_only_its_own_prompts(loaded: LoadedModel):
    images = IMAGES.copy()
    images[1] = 255

    def refuse(module: torch.nn.Module, arguments: tuple, named: dict) -> None:
        if (named["pixel_values"].amin(dim=(1, 2, 3)) == 1).any():
            raise torch.OutOfMemoryError("CUDA out of memory")

    prompts = mixed_prompts(max_new_tokens=3)
    with hooked(loaded.model.model.vision_tower, refuse):
        finished = list(Engine(loaded, 6).run(prompts, images))
    failures = {failure.key: failure.error for batch in finished for failure in batch.failures}
    completions = [answer.key for batch in finished for answer in batch.completions]
    assert set(failures) == {prompt.key for prompt in prompts if prompt.image == 1}
    assert sorted(completions) == sorted(prompt.key for prompt in prompts if prompt.image != 1)
    assert set(failures.values()) == {
        "ValueError: image 1 cannot be encoded (OutOfMemoryError: CUDA out of memory)",
    }
    assert max(answer.batch_size for answer in answers(loaded, prompts, 6).values()) == 6


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        (Prompt("x", "word " * 9000), "are more than the model's 8192"),
        (Prompt("x", "short", max_new_tokens=8190), "are more than the model's 8192"),
        (Prompt("x", "a <start_of_image> b", image=0), "ValueError: the text of the prompt holds an image token"),
        (Prompt("x", "a <image_soft_token> b"), "ValueError: the text of the prompt holds an image token"),
        (Prompt("x", "short", image=len(IMAGES)), "ValueError: there is no image 5 among 5"),
        (Prompt("x", "short", image=-1), "ValueError: there is no image -1 among 5"),
    ],
)
def test_an_unfit_prompt_fails_and_the_others_do_not(loaded: LoadedModel, prompt: Prompt, error: str):
    finished = list(Engine(loaded).run([Prompt("a", TEXTS[0], image=0, max_new_tokens=2), prompt], IMAGES))
    ((key, message),) = [dataclasses.astuple(failure) for batch in finished for failure in batch.failures]
    assert key == "x"
    assert error in message
    assert [answer.key for batch in finished for answer in batch.completions] == ["a"]


def test_a_fatal_error_ends_the_run(loaded: LoadedModel):
    def lose(module: torch.nn.Module, arguments: tuple, named: dict) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with hooked(loaded.model, lose), pytest.raises(RuntimeError, match="illegal memory access"):
        list(Engine(loaded).run(mixed_prompts(), IMAGES))
    assert answers(loaded, [Prompt("a", TEXTS[0], image=0, max_new_tokens=2)])  # no hook and no lock is left behind


def test_what_it_took_is_told(loaded: LoadedModel):
    for answer in answers(loaded, [Prompt(str(i), TEXTS[0], image=0, max_new_tokens=2) for i in range(3)]).values():
        assert 0 < answer.seconds < 60
        assert answer.batch_size == 3
        assert answer.peak_gib is None  # of a GPU


def test_a_batch_tells_its_width_and_its_steps(loaded: LoadedModel):
    prompts = [Prompt(str(i), text, image=0, max_new_tokens=5) for i, text in enumerate(TEXTS)]
    passes = []
    with hooked(loaded.model, lambda module, arguments, named: passes.append(1)):
        (batch,) = Engine(loaded).run(prompts, IMAGES)
    assert batch.width == max(answer.prompt_tokens for answer in batch.completions)
    assert batch.steps == max(answer.generated_tokens for answer in batch.completions) - 1 == len(passes) - 1
    assert batch.batch_limit == 64


def test_the_library_has_nothing_to_warn_of(loaded: LoadedModel):
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    logger = transformers_logging.get_logger("transformers")
    logger.addHandler(handler)
    transformers_logging.warning_once.cache_clear()
    try:
        answers(loaded, mixed_prompts(max_new_tokens=2))
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in said] == []


@pytest.mark.parametrize(
    ("error", "memory", "fatal"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True, False),
        (MemoryError(), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True, True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True, False),
        (RuntimeError("CUDA error: device-side assert triggered"), False, True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False, True),
        (InputError("a mistake"), False, True),
        (ConnectionResetError(), False, True),
        (TimeoutError(), False, True),
        (RuntimeError("shapes do not match"), False, False),
        (ValueError("out of memory"), False, False),
    ],
)
def test_faults_are_told_apart(error: Exception, memory: bool, fatal: bool):
    assert faults.is_out_of_memory(error) == memory
    assert faults.is_fatal(error) == fatal


def test_memory_that_a_cpu_does_not_have_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert faults.is_out_of_memory(raised.value)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["nf4", "bf16"])
def test_a_gpu_answers_all_prompts_and_tells_its_memory(small_checkpoint: Path, precision: str):
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no CUDA device on this machine")
    if precision == "nf4":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    loaded = load_model(resolve_source(str(small_checkpoint), None, None), precision, "cuda", None)
    prompts = [*mixed_prompts(), *(Prompt(f"c {i}", TEXTS[1], image=i, choices=YES_NO) for i in range(5))]
    written = answers(loaded, prompts)
    assert set(written) == {prompt.key for prompt in prompts}
    assert all(answer.peak_gib > loaded.weights_gib for answer in written.values())
    for i in range(5):
        with torch.inference_mode():
            logits = loaded.model(**naive_inputs(loaded, prompts[-5 + i]).to("cuda")).logits[0, -1].float()
        yes, no = (loaded.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in YES_NO)
        expected = torch.stack([logits[yes], logits[no]]).softmax(0)[0].item()
        assert written[f"c {i}"].probability == pytest.approx(expected, abs=0.02)
