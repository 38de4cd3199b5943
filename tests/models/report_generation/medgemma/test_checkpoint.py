import gc
import json
import logging
import re
import shutil
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from models.errors import InputError
from models.report_generation.medgemma.checkpoint import (
    LoadedModel,
    Precision,
    Source,
    choose_device,
    choose_precision,
    compute_dtype,
    load_model,
    loaded_model,
    require_memory,
    resolve_source,
    weights_gib,
)
from tests.support.medgemma_twin import write_checkpoint

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
GIB = 2**30
WEIGHTS = "model.safetensors"
PROJECTION = "multi_modal_projector.mm_input_projection_weight"


@pytest.fixture(scope="session")
def small_source(small_checkpoint: Path) -> Source:
    return resolve_source(str(small_checkpoint), None, None)


@pytest.fixture(scope="module")
def in_fp32(small_source: Source) -> LoadedModel:
    return load_model(small_source, "fp32", "cpu", None)


@pytest.fixture(scope="module")
def in_nf4(small_source: Source) -> LoadedModel:
    return load_model(small_source, "nf4", "cpu", None)


@pytest.fixture
def copy(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that the test may change."""
    return shutil.copytree(small_checkpoint, tmp_path / "copy")


def load_folder(folder: Path, precision: Precision = "fp32") -> LoadedModel:
    return load_model(resolve_source(str(folder), None, None), precision, "cpu", None)


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_weights(folder: Path, ending: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weights = load_file(folder / WEIGHTS)
    (name,) = [name for name in weights if name.endswith(ending)]
    save_file(weights | {name: change(weights[name])}, folder / WEIGHTS, {"format": "pt"})


def logits(loaded: LoadedModel, image: np.ndarray, **changed: Any) -> torch.Tensor:
    message = [{"type": "image", "image": Image.fromarray(image)}, {"type": "text", "text": "the chest radiograph"}]
    inputs = loaded.processor.apply_chat_template(
        [{"role": "user", "content": message}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    ).to(loaded.device)  # fmt: skip
    with torch.inference_mode():
        return loaded.model(**inputs, **changed).logits[0, -1].float().cpu()


def two_images() -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    return noise, 255 - noise


def shape_of_4b() -> Gemma3Config:
    """MedGemma 4B's shape as its hub configuration gives it; the rest are Gemma 3's defaults."""
    return Gemma3Config(
        text_config={
            "vocab_size": 262208, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 1024,
        },
        vision_config={
            "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
            "image_size": 896, "patch_size": 14, "vision_use_head": False,
        },
    )  # fmt: skip


# Precision and device


@pytest.mark.parametrize(
    ("wanted", "device", "settled"),
    [
        ("auto", "cuda", "nf4"),
        ("auto", "cpu", "fp32"),
        ("nf4", "cpu", "nf4"),
        ("bf16", "cpu", "bf16"),
        ("fp32", "cuda", "fp32"),
    ],
)
def test_a_gpu_gets_nf4_and_a_cpu_fp32_unless_told(wanted: Any, device: str, settled: str) -> None:
    assert choose_precision(wanted, device) == settled


def test_nothing_is_ever_computed_in_fp16() -> None:
    # A machine without a GPU has no bf16 in the sense of CUDA, as a T4.
    assert compute_dtype("nf4", "cpu") == torch.float32
    assert compute_dtype("fp32", "cpu") == torch.float32
    assert compute_dtype("bf16", "cpu") == torch.bfloat16
    if not torch.cuda.is_available():
        assert compute_dtype("nf4", "cuda") == torch.float32


def test_a_cpu_is_always_there() -> None:
    assert choose_device("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_missing_gpu_is_one_sentence_with_the_ways_out() -> None:
    with pytest.raises(InputError, match=r"no GPU .*`gpu` pool.*device cpu.*generator template"):
        choose_device("cuda")


# What weights take


def test_the_4b_shape_has_medgemmas_number_of_parameters_and_fits_a_t4_in_nf4() -> None:
    config = shape_of_4b()
    with torch.device("meta"):
        model = Gemma3ForConditionalGeneration(config)
    assert sum(weight.numel() for weight in model.parameters()) == 4_300_079_472

    # By hand: 34 layers of query and output 2560·2048, key and value 2560·1024, three times 2560·10240.
    quantized = 34 * (2 * 2560 * 2048 + 2 * 2560 * 1024 + 3 * 2560 * 10240)
    scales = quantized / 64 + 4 * quantized / 64 / 256
    whole = 4_300_079_472 - quantized
    assert weights_gib(config, "bf16") == pytest.approx(4_300_079_472 * 2 / GIB)
    assert weights_gib(config, "fp32") == pytest.approx(4_300_079_472 * 4 / GIB)
    assert weights_gib(config, "nf4") == pytest.approx((quantized / 2 + scales + 2 * whole) / GIB)
    assert weights_gib(config, "nf4", torch.float32) == pytest.approx((quantized / 2 + scales + 4 * whole) / GIB)

    assert weights_gib(config, "bf16") == pytest.approx(8.0, abs=0.05)
    assert weights_gib(config, "nf4") == pytest.approx(3.6, abs=0.05)
    assert weights_gib(config, "nf4", torch.float32) < 14


@pytest.mark.parametrize(("precision", "rest"), [("fp32", torch.float32), ("nf4", torch.float32)])
def test_the_estimate_is_what_is_then_resident(
    in_fp32: LoadedModel, in_nf4: LoadedModel, precision: Precision, rest: torch.dtype
) -> None:
    loaded = {"fp32": in_fp32, "nf4": in_nf4}[precision]
    # Code books come on top, and on some CPUs bitsandbytes undoes the second quantization: little at this size, less
    # at a real one.
    allowed = 0.1 if precision == "nf4" else 1e-9
    assert loaded.weights_gib == pytest.approx(weights_gib(loaded.model.config, precision, rest), rel=allowed)


def test_too_little_memory_is_one_sentence_with_the_way_out() -> None:
    require_memory(3.6, 4.7, "nf4")
    with pytest.raises(
        InputError, match=r"8\.9 GiB of free memory .* in bf16 need 8\.0 GiB .*; take the precision nf4"
    ):
        require_memory(8.0, 8.9, "bf16")
    with pytest.raises(InputError, match="; end what else uses the GPU, or take a larger one"):
        require_memory(3.6, 4.5, "nf4")


# Loading


def test_a_model_is_loaded_ready_to_generate(in_fp32: LoadedModel, small_source: Source) -> None:
    assert (in_fp32.source, in_fp32.precision, in_fp32.device) == (small_source, "fp32", "cpu")
    assert in_fp32.stop_tokens == (1, 106)
    assert not in_fp32.model.training
    assert in_fp32.model.dtype == torch.float32
    assert in_fp32.model.config._attn_implementation == "sdpa"
    assert len(repr(in_fp32)) < 1000


def test_the_weights_are_those_on_disk(in_fp32: LoadedModel, small_checkpoint: Path) -> None:
    on_disk = load_file(small_checkpoint / WEIGHTS)
    in_memory = {name.removeprefix("model."): weight for name, weight in in_fp32.model.named_parameters()}
    (name,) = [name for name in on_disk if name.endswith("layers.0.mlp.up_proj.weight")]
    assert torch.equal(on_disk[name], in_memory["language_model.layers.0.mlp.up_proj.weight"])


def test_bf16_weights_are_bf16(small_source: Source) -> None:
    loaded = load_model(small_source, "bf16", "cpu", None)
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.bfloat16}
    assert loaded.weights_gib == pytest.approx(weights_gib(loaded.model.config, "bf16"))


def test_nf4_quantizes_the_language_model_twice_and_nothing_else(in_nf4: LoadedModel) -> None:
    kinds: dict[str, set[str]] = {"language_model": set(), "vision_tower": set(), "lm_head": set()}
    for name, module in in_nf4.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            kinds[next(part for part in kinds if part in name)].add(type(module).__name__)
    assert kinds == {"language_model": {"Linear4bit"}, "vision_tower": {"Linear"}, "lm_head": {"Linear"}}
    assert in_nf4.model.model.multi_modal_projector.mm_input_projection_weight.is_floating_point()
    assert in_nf4.model.lm_head.weight is in_nf4.model.get_input_embeddings().weight

    state = in_nf4.model.model.language_model.layers[0].mlp.up_proj.weight.quant_state
    assert state.quant_type == "nf4"
    # Some CPUs compute with another layout, in which bitsandbytes undoes the second quantization.
    assert getattr(state, "original_nested", state.nested)


def test_nf4_on_a_cpu_gives_finite_logits_near_those_of_fp32(in_nf4: LoadedModel, in_fp32: LoadedModel) -> None:
    image, _ = two_images()
    quantized, whole = logits(in_nf4, image), logits(in_fp32, image)
    assert torch.isfinite(quantized).all()
    assert not torch.equal(quantized, whole)
    assert torch.nn.functional.cosine_similarity(quantized, whole, dim=0) > 0.8


def test_nf4_writes_until_a_limit(in_nf4: LoadedModel) -> None:
    tokens = in_nf4.model.generate(
        input_ids=torch.tensor([[2, 105]]), max_new_tokens=4, do_sample=False, eos_token_id=list(in_nf4.stop_tokens)
    )
    assert 3 <= tokens.shape[1] <= 6


def test_the_image_matters(in_fp32: LoadedModel) -> None:
    one, other = two_images()
    assert torch.allclose(logits(in_fp32, one), logits(in_fp32, one))
    assert (logits(in_fp32, one) - logits(in_fp32, other)).abs().max() > 1e-3


def test_with_a_zero_projector_the_image_does_not_matter(copy: Path) -> None:
    change_weights(copy, PROJECTION, torch.zeros_like)
    loaded = load_folder(copy)
    one, other = two_images()
    assert torch.equal(logits(loaded, one), logits(loaded, other))


def test_padding_goes_to_the_left_and_an_image_is_taken_once_whatever_the_files_say(copy: Path) -> None:
    change_json(copy / "tokenizer_config.json", lambda config: config.update(padding_side="right"))
    change_json(copy / "processor_config.json", lambda config: config["image_processor"].update(do_pan_and_scan=True))
    loaded = load_folder(copy)
    assert loaded.processor.tokenizer(["Yes", "Yes No Yes"], padding=True)["input_ids"][0][0] == 0
    assert not loaded.processor.image_processor.do_pan_and_scan


@pytest.mark.parametrize("several", [False, True])
def test_a_chat_template_may_stand_with_the_tokenizer_alone(copy: Path, in_fp32: LoadedModel, several: bool) -> None:
    template = (copy / "chat_template.jinja").read_text()
    named = [{"name": "default", "template": template}, {"name": "other", "template": "nothing"}]
    (copy / "chat_template.jinja").unlink()
    change_json(
        copy / "tokenizer_config.json", lambda config: config.update(chat_template=named if several else template)
    )
    image, _ = two_images()
    assert torch.equal(logits(load_folder(copy), image), logits(in_fp32, image))


@pytest.mark.parametrize(("said", "stops"), [(1, (1, 106)), ([106, 1], (1, 106)), ([1, 7], (1, 7, 106))])
def test_the_end_of_a_turn_always_stops(copy: Path, said: int | list[int], stops: tuple[int, ...]) -> None:
    change_json(copy / "generation_config.json", lambda config: config.update(eos_token_id=said))
    assert load_folder(copy).stop_tokens == stops


# What is wrong with a checkpoint


def drop_layer(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    kept = {name: weight for name, weight in weights.items() if "language_model.model.layers.2." not in name}
    save_file(kept, folder / WEIGHTS, {"format": "pt"})


def widen(folder: Path) -> None:
    change_json(folder / "config.json", lambda config: config["text_config"].update(intermediate_size=256))


def forget_end_of_turn(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<end_of_turn>", "<something>"))


def shrink_images(folder: Path) -> None:
    size = {"height": 28, "width": 28}
    change_json(folder / "processor_config.json", lambda config: config["image_processor"].update(size=size))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (drop_layer, r"do not fit its config.json \(13 tensors are missing .*; copy or download the checkpoint again"),
        (widen, r"do not fit its config.json \(9 tensors"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer in .* cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": 1}'), "tokenizer in .* cannot be read"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "no chat template .*; choose an instruction-tuned"),
        (forget_end_of_turn, "no token <end_of_turn>; choose an instruction-tuned"),
        (shrink_images, "makes images of 28×28 pixels and 4 tokens, the network expects 56×56 and 4; supply"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(
    copy: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    spoil(copy)
    with pytest.raises(InputError, match=sentence) as refused:
        load_folder(copy)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("precision", ["fp32", "nf4"])
def test_logits_that_are_not_finite_are_refused(copy: Path, precision: Precision) -> None:
    change_weights(copy, "model.norm.weight", lambda weight: torch.full_like(weight, torch.inf))
    others = {"fp32": "nf4 or bf16", "nf4": "bf16 or fp32"}[precision]
    with pytest.raises(InputError, match=rf"not finite in {precision}, .*; choose another precision \({others}\)"):
        load_folder(copy, precision)


def test_a_missing_bitsandbytes_is_one_sentence(small_source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "bitsandbytes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # what Python itself takes for a module that is not there
    with pytest.raises(InputError, match=r"nf4 needs the package bitsandbytes, .* requirements.txt, or take another"):
        load_model(small_source, "nf4", "cpu", None)


def test_the_token_is_told_nowhere(
    copy: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    token = "hf_" + "secret"
    source = resolve_source(str(copy), None, token)
    loaded = loaded_model(source, "fp32", "cpu", token)
    widen(copy)
    with pytest.raises(InputError) as refused:
        load_model(source, "fp32", "cpu", token)
    told = repr(source) + repr(loaded) + "".join(traceback.format_exception(refused.value)) + caplog.text
    captured = capfd.readouterr()
    assert token not in told + captured.out + captured.err


# Once a process


def test_the_same_model_is_loaded_once_and_another_takes_its_place(small_source: Source, tmp_path: Path) -> None:
    first = loaded_model(small_source, "fp32", "cpu", None)
    assert loaded_model(small_source, "fp32", "cpu", None) is first
    assert loaded_model(resolve_source(small_source.model, None, None), "fp32", "cpu", "other token") is first

    gone = weakref.ref(first.model)
    del first
    other = resolve_source(str(write_checkpoint(tmp_path / "other", seed=1)), None, None)
    second = loaded_model(other, "fp32", "cpu", None)
    gc.collect()
    assert second.source == other
    assert gone() is None

    assert loaded_model(other, "bf16", "cpu", None) is not second


def test_threads_that_ask_at_once_get_one_model(small_source: Source) -> None:
    loaded_model(small_source, "bf16", "cpu", None)  # another one, so that there is something to load
    got: list[LoadedModel] = []
    threads = [
        threading.Thread(target=lambda: got.append(loaded_model(small_source, "fp32", "cpu", None))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert len({id(one) for one in got}) == 1


def test_a_model_that_cannot_be_loaded_is_tried_again(copy: Path) -> None:
    source = resolve_source(str(copy), None, None)
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(InputError):
        loaded_model(source, "fp32", "cpu", None)
    (copy / "chat_template.jinja").write_text(template)
    assert loaded_model(source, "fp32", "cpu", None).source == source


# On a GPU


@pytest.mark.gpu
@needs_gpu
def test_nf4_loads_on_a_gpu(small_source: Source, in_fp32: LoadedModel) -> None:
    loaded = load_model(small_source, choose_precision("auto", "cuda"), choose_device("cuda"), None)
    image, other = two_images()
    assert loaded.precision == "nf4"
    assert {weight.device.type for weight in loaded.model.parameters()} == {"cuda"}
    assert torch.isfinite(logits(loaded, image)).all()
    assert not torch.equal(logits(loaded, image), logits(loaded, other))
    assert torch.nn.functional.cosine_similarity(logits(loaded, image), logits(in_fp32, image), dim=0) > 0.8


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_that_is_full_is_one_sentence(small_source: Source) -> None:
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - GIB // 2, dtype=torch.uint8, device="cuda")
    with pytest.raises(InputError, match=re.compile("GiB of free memory and the weights in nf4 need")):
        load_model(small_source, "nf4", "cuda", None)
    del taken
    torch.cuda.empty_cache()


@pytest.mark.gpu
@needs_gpu
def test_memory_that_runs_out_while_loading_is_one_sentence(small_source: Source) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(InputError, match=r"memory ran out while .* was loaded in fp32; take the precision nf4"):
            load_model(small_source, "fp32", "cuda", None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
