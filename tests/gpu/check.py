"""`make gpu-check`: one pass over MedGemma's code on a GPU with random weights: is it right, how fast, how much memory.

    make gpu-check ARGS="--seconds 300"        python -m tests.gpu.check --shape small --device cpu

Sections run in order of what they teach; each is skipped when the time is up, and every figure is written at once to
`result.json`. It needs no weights and no network; on a machine that has nothing but torch, transformers, accelerate,
bitsandbytes and xgrammar it runs from the checkout with the second command.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.report_generation.medgemma.checkpoint import load_model, resolve_source
from models.report_generation.medgemma.engine import Engine, Prompt
from models.report_generation.medgemma.gemma3 import features_in_place
from models.report_generation.medgemma.image_encoder import ImageEncoder
from tests.benchmarks import medgemma as benchmark
from tests.support.medgemma_twin import write_checkpoint

START = time.perf_counter()
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)
LONG = benchmark.PROMPTS[5] + " " + benchmark.PROMPTS[1]
RESULT: dict = {}


def say(*words: object) -> None:
    sys.stdout.write(f"[{time.perf_counter() - START:6.1f}] {' '.join(map(str, words))}\n")
    sys.stdout.flush()


def keep(name: str, value: object) -> None:
    RESULT[name] = value
    (ARGS.out / "result.json").write_text(json.dumps(RESULT, indent=1, default=str))
    say(name, json.dumps(value, default=str)[:900])


def section(name: str, needs: float, run, *arguments: object) -> object:
    left = ARGS.seconds - (time.perf_counter() - START)
    if left < needs:
        keep(name, f"skipped: {left:.0f} s left, {needs:.0f} needed")
        return None
    began = time.perf_counter()
    try:
        return run(*arguments)
    except Exception as error:  # the next section can still teach something
        keep(f"{name} failed", f"{type(error).__name__}: {error}"[:600])
        traceback.print_exc()
        return None
    finally:
        sync()
        say(f"-- {name}: {time.perf_counter() - began:.1f} s")


def sync() -> None:
    if ARGS.device == "cuda":
        torch.cuda.synchronize()


def attention() -> None:
    """Masked attention as the model calls it, by kernel, against float32: left padding, one block of image tokens."""
    kernels = {"default": None, "efficient": SDPBackend.EFFICIENT_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
    worst: dict = {}
    for heads_kv in (4, 1):  # MedGemma 4B has 4; the small twin has 1, whose keys are a view of stride 0
        for width in (607, 608, 609, 610, 640, 641):
            torch.manual_seed(width)
            q = torch.randn(4, 8, width, 256, device=ARGS.device, dtype=torch.bfloat16)
            k, v = (torch.randn(4, heads_kv, 1, width, 256, device=ARGS.device, dtype=torch.bfloat16) for _ in range(2))
            k, v = (t.expand(4, heads_kv, 8 // heads_kv, width, 256).reshape(4, 8, width, 256) for t in (k, v))
            place = torch.arange(width, device=ARGS.device)
            image = (place > 300) & (place < 557)
            seen = (place[:, None] >= place) | (image[:, None] & image)
            pads = torch.tensor([0, 7, 40, 120], device=ARGS.device)
            mask = (seen & (place >= pads[:, None])[:, None, :])[:, None]
            real = (place >= pads[:, None])[:, None, :, None]
            with sdpa_kernel(SDPBackend.MATH):
                right = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask) * real
            for name, kernel in kernels.items():
                try:
                    if kernel is None:
                        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
                    else:
                        with sdpa_kernel(kernel):
                            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
                    error = ((out.float() * real - right).norm() / right.norm()).item()
                    padding = "finite" if torch.isfinite(out).all() else "NaN in padding"
                except RuntimeError as refused:
                    error, padding = f"refused: {str(refused)[:60]}", ""
                worst[f"kv {heads_kv} width {width} {name}"] = (error, padding)
    keep("attention: relative error by kernel (bf16 should be near 0.003)", worst)


def load(precision: str):
    gc.collect()
    if ARGS.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    loaded = load_model(SOURCE, precision, ARGS.device, None)
    peak = torch.cuda.max_memory_allocated() / 2**30 if ARGS.device == "cuda" else None
    keep(f"{precision}: load", {"s": time.perf_counter() - began, "weights GiB": loaded.weights_gib, "peak GiB": peak})
    return loaded


def padding(loaded) -> None:
    """Last-token logits of a row alone and left-padded beside a longer row, at every width up to 33 more."""
    engine = Engine(loaded)
    rows = engine._tokenised([Prompt("short", benchmark.PROMPTS[3], image=0)], len(IMAGES))[0]
    tokens = rows[0].tokens
    encoder = ImageEncoder(loaded.model, loaded.processor, engine._image_ceiling, IMAGES, [0] * 99)
    filler = tokens[-6]

    def last(lines: list) -> torch.Tensor:
        width = max(map(len, lines))
        ids = torch.tensor([[0] * (width - len(line)) + list(line) for line in lines], device=ARGS.device)
        mask = torch.tensor([[0] * (width - len(line)) + [1] * len(line) for line in lines], device=ARGS.device)
        types = (ids == loaded.processor.tokenizer.image_token_id).long()
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        with (
            torch.inference_mode(),
            features_in_place(
                loaded.model, loaded.processor.tokenizer.image_token_id, encoder.features([0] * len(lines))
            ),
        ):
            return loaded.model(
                input_ids=ids, attention_mask=mask, token_type_ids=types, position_ids=places, logits_to_keep=1,
                use_cache=False,
            ).logits[:, -1].float()  # fmt: skip

    alone = last([tokens])[0]
    gaps = {}
    for extra in range(1, 34):
        beside = last([tokens, (*tokens, *[filler] * extra)])[0]
        gaps[len(tokens) + extra] = ((beside - alone).abs().max() / alone.std()).item()
    worst = max(gaps, key=gaps.get)
    keep(
        f"{loaded.precision}: logits beside a longer row, largest gap in standard deviations",
        {
            "worst": gaps[worst],
            "at width": worst,
            "mod 32": worst % 32,
            "median": float(np.median(list(gaps.values()))),
        },
    )


def same_texts(loaded, tokens: int) -> None:
    """Texts of a mixed batch against `generate` with pixels, one at a time."""
    prompts = [
        Prompt(f"{i} {j}", text, image=i, image_first=bool(j % 2), max_new_tokens=tokens)
        for i in range(2)
        for j, text in enumerate(benchmark.PROMPTS)
    ]
    written = {c.key: c.token_ids for b in Engine(loaded).run(prompts, IMAGES) for c in b.completions}
    same = []
    for prompt in prompts:
        content = [{"type": "text", "text": prompt.text}]
        picture = {"type": "image", "image": Image.fromarray(IMAGES[prompt.image]).convert("RGB")}
        content.insert(0 if prompt.image_first else 1, picture)
        inputs = loaded.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        ).to(loaded.device)  # fmt: skip
        with torch.inference_mode():
            out = loaded.model.generate(
                **inputs, do_sample=False, max_new_tokens=tokens, eos_token_id=list(loaded.stop_tokens)
            )
        if prompt.key not in written:
            same.append("no text")
            continue
        ours, theirs = written[prompt.key], tuple(out[0, inputs["input_ids"].shape[1] :].tolist())
        same.append(
            next(
                (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
                None if ours == theirs else -1,
            )
        )
    keep(f"{loaded.precision}: first token that differs from one at a time (None is equal)", same)


def speed(loaded, plan: list) -> None:
    """Reports a second and peak memory, by the product's own benchmark."""
    rows = []
    for batch, images, singly in plan:
        for row in benchmark.measure(loaded, [batch], IMAGES[:images], ARGS.tokens, singly):
            rows.append({k: v for k, v in vars(row).items() if k != "precision"})
            say(loaded.precision, benchmark._line(row))
    keep(f"{loaded.precision}: speed", rows)


def constrained(loaded) -> None:
    """What the grammar costs: the same batch with and without it."""
    from models.report_generation.json_answer import report_json_schema

    schema, texts = report_json_schema(), {}
    began = time.perf_counter()
    Engine(loaded)._constraint(schema)
    texts["compile s"] = time.perf_counter() - began
    for name, used in (("free", None), ("json", schema), ("json again", schema)):
        prompts = [
            Prompt(f"{i}", benchmark.PROMPTS[1], image=i, max_new_tokens=ARGS.tokens, json_schema=used)
            for i in range(64)
        ]
        began = time.perf_counter()
        done = [c for b in Engine(loaded).run(prompts, IMAGES) for c in b.completions]
        texts[name] = {
            "s": time.perf_counter() - began,
            "tokens": sum(c.generated_tokens for c in done),
            "rows": len(done),
        }
    keep(f"{loaded.precision}: grammar", texts)


def profile(loaded) -> None:
    """Where a decoding step of 64 rows spends its time."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if ARGS.device == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    made = {}
    for tokens in (2, 12):
        prompts = [Prompt(f"{i}", LONG, image=i, max_new_tokens=tokens) for i in range(64)]
        list(Engine(loaded).run(prompts, IMAGES))
        sync()
        with torch.profiler.profile(activities=kinds) as seen:
            began = time.perf_counter()
            list(Engine(loaded).run(prompts, IMAGES))
            sync()
            made[tokens] = time.perf_counter() - began
    sort = "self_cuda_time_total" if ARGS.device == "cuda" else "self_cpu_time_total"
    table = seen.key_averages().table(sort_by=sort, row_limit=25, max_name_column_width=60)
    (ARGS.out / f"profile_{loaded.precision}.txt").write_text(table)
    busy = sum(e.self_device_time_total for e in seen.key_averages()) / 1e6 if ARGS.device == "cuda" else None
    keep(
        f"{loaded.precision}: profile",
        {"ms a step, profiled": (made[12] - made[2]) * 100, "GPU busy s of 12": busy, "s": made[12]},
    )


def static_cache(loaded) -> None:
    """A static cache, plain and compiled by `generate`, against the dynamic one."""
    engine = Engine(loaded)
    inputs = engine._inputs(engine._tokenised([Prompt(f"{i}", LONG) for i in range(64)], 0)[0])
    times = {}
    ways = {"dynamic": {}, "static": {"cache_implementation": "static", "disable_compile": True}}
    ways["static, compiled, first"] = ways["static, compiled, again"] = {"cache_implementation": "static"}
    for name, way in ways.items():
        if ARGS.seconds - (time.perf_counter() - START) < 45:
            break
        began = time.perf_counter()
        with torch.inference_mode():
            loaded.model.generate(
                **inputs, do_sample=False, top_k=None, top_p=None, max_new_tokens=ARGS.tokens, eos_token_id=None,
                pad_token_id=0, **way,
            )  # fmt: skip
        sync()
        times[name] = time.perf_counter() - began
        keep(f"{loaded.precision}: 64 rows, s by cache", dict(times))


def main() -> int:
    """Run the check.

    Returns:
        Exit code: 0, or 2 where there is no GPU to check on.
    """
    global SOURCE
    if ARGS.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(
            "error: There is no GPU that PyTorch can use on this machine: run the check where there is one, or try its "
            "code with ARGS='--device cpu --shape small'.\n"
        )
        return 2
    ARGS.out.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("highest")
    import transformers

    card = torch.cuda.get_device_name() if ARGS.device == "cuda" else "cpu"
    keep("machine", [card, torch.__version__, transformers.__version__, torch.backends.cudnn.version()])
    section("attention", 20, attention)
    folder = Path(ROOM) / f"checkpoint-{ARGS.shape}"
    dtype = torch.bfloat16 if ARGS.shape == "4b" else torch.float32
    began = time.perf_counter()
    write_checkpoint(folder, ARGS.shape, dtype=dtype, device=ARGS.device)
    written = time.perf_counter() - began
    SOURCE = resolve_source(str(folder), None, None)
    keep("checkpoint", {"write s": written, "digest s": time.perf_counter() - began - written})
    small = ARGS.shape == "small"
    for precision, needs in (("nf4", 150), ("bf16", 120), ("fp32", 60)):
        loaded = section(f"{precision} load", needs, load, precision)
        if loaded is None:
            continue
        section(f"{precision} padding", 20, padding, loaded)
        section(f"{precision} texts", 30, same_texts, loaded, 4 if small else 24)
        if precision != "fp32":
            section(f"{precision} speed", 60, speed, loaded, [(8, 3, 6), (64, 11, 1), (256, 43, 1)])
        if precision == "nf4":
            section("grammar", 45, constrained, loaded)
        if precision == "bf16":
            section("profile", 30, profile, loaded)
            section("static cache", 60, static_cache, loaded)
        del loaded
    say("done")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.check", description=__doc__)
    parser.add_argument("--shape", choices=("small", "4b"), default="4b", help="of the random checkpoint")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--seconds", type=float, default=470, help="after which no section begins")
    parser.add_argument("--tokens", type=int, default=64, help="length of a report")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu_check"), help="folder of the findings")
    ARGS = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as ROOM:
        raise SystemExit(main())
