"""`make gpu-check`: one pass over MedGemma's code on a GPU with random weights: is it right, how fast, how much memory.

    make gpu-check ARGS="--seconds 300"        python -m tests.gpu.check --shape small --device cpu

Sections run in order of what they teach; each is skipped when the time is up, and every figure is printed and written
to `result.json` at once. It needs no weights and no network. A machine that has a GPU and torch, but neither this
project's environment nor a package index, gets the rest from `bash tests/gpu/pack.sh`.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.report_generation.medgemma.checkpoint import LoadedModel, load_vocabulary, loaded_model, resolve_source
from models.report_generation.medgemma.engine import Engine, Prompt
from models.report_generation.medgemma.gemma3 import features_in_place, image_features
from tests.benchmarks.bandwidth import claimed_bandwidth, copied_bandwidth
from tests.benchmarks.medgemma import PROMPTS, ROWS_PER_TASK, STRATEGIES_OF_REPORTS, Bench, Measurement, goals, line
from tests.support.medgemma_twin import write_checkpoint

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)
LONG = PROMPTS[5] + " " + PROMPTS[1]


@dataclass(frozen=True)
class Sizes:
    """What is tried: of MedGemma's own shape, or small enough for seconds on a CPU.

    Attributes:
        tokens: length of a report.
        text_tokens: length of the texts that are compared with those of one at a time.
        json_tokens: limit of an answer with a grammar.
        widths: tokens of the rows whose attention is compared, by kernel.
        head: numbers of a head in it.
        image: between which tokens, both exclusive, its image lies.
        paddings: up to how many tokens longer the row is beside which a row is padded.
        batches: reports at once.
        singly: reports that are written one at a time.
        flow: cases, rows of a task and strategies of the flow.
        rows: rows of the other batches.
        matcher_rows: rows whose masks alone are timed.
        left_for_caches: seconds that must be left for another cache to be tried.
    """

    tokens: int
    text_tokens: int
    json_tokens: int
    widths: tuple[int, ...]
    head: int
    image: tuple[int, int]
    paddings: int
    batches: tuple[int, ...]
    singly: int
    flow: tuple[int, int, tuple[str, ...]]
    rows: int
    matcher_rows: tuple[int, ...]
    left_for_caches: float


SIZES = {
    "4b": Sizes(
        tokens=64,
        text_tokens=24,
        json_tokens=400,
        widths=(607, 608, 609, 610, 640, 641),
        head=256,
        image=(300, 557),
        paddings=33,
        batches=(8, 64, 256),
        singly=6,
        flow=(32, ROWS_PER_TASK, STRATEGIES_OF_REPORTS),
        rows=64,
        matcher_rows=(64, 256),
        left_for_caches=45,
    ),
    "small": Sizes(
        tokens=4,
        text_tokens=3,
        json_tokens=60,
        widths=(63, 65),
        head=32,
        image=(10, 20),
        paddings=2,
        batches=(2, 8),
        singly=2,
        flow=(1, 6, ("zero_shot", "concise")),
        rows=3,
        matcher_rows=(2, 4),
        left_for_caches=0,
    ),
}


class Check:
    """The findings, the time that is left, and the checkpoint that is checked."""

    def __init__(self, options: argparse.Namespace, room: Path) -> None:
        self._options, self._room = options, room
        self._sizes = SIZES[options.shape]
        self._device = options.device
        self._start = time.perf_counter()
        self._found: dict[str, object] = {}
        self._rows: list[Measurement] = []
        self._bench: Bench | None = None

    def run(self) -> None:
        """Run the sections."""
        self._options.out.mkdir(parents=True, exist_ok=True)
        torch.set_float32_matmul_precision("highest")
        self._section("machine", 5, self._machine)
        self._section("attention", 20, self._attention)
        self._section("checkpoint", 60, self._write)
        for precision, needs in (("nf4", 60), ("bf16", 60), ("fp32", 45)):
            loaded = self._section(f"{precision} load", needs, self._load, precision)
            if not isinstance(loaded, LoadedModel):
                continue
            self._section(f"{precision} padding", 15, self._padding, loaded)
            self._section(f"{precision} texts", 25, self._texts, loaded)
            if precision != "fp32":
                self._section(f"{precision} speed", 70, self._speed, loaded)
            if precision == "nf4":
                self._section("grammar", 45, self._grammar, loaded)
                self._section("flow", 70, self._flow, loaded)
            if precision == "bf16":
                self._section("caches", 60, self._caches, loaded)
                self._section("profile", 25, self._profile, loaded)
            del loaded
            self._bench = None  # it holds the model
        self._keep("goals", goals(self._rows))
        self._say("done")

    def _say(self, *words: object) -> None:
        sys.stdout.write(f"[{time.perf_counter() - self._start:6.1f}] {' '.join(map(str, words))}\n")
        sys.stdout.flush()

    def _keep(self, name: str, value: object) -> None:
        self._found[name] = value
        (self._options.out / "result.json").write_text(json.dumps(self._found, indent=1, default=str))
        self._say(name, json.dumps(value, default=str)[:900])

    def _left(self) -> float:
        return float(self._options.seconds) - (time.perf_counter() - self._start)

    def _section(self, name: str, needs: float, run: Callable[..., object], *arguments: object) -> object:
        if self._options.shape == "4b" and self._left() < needs:
            self._keep(name, f"skipped: {self._left():.0f} s left, {needs:.0f} needed")
            return None
        began = time.perf_counter()
        try:
            return run(*arguments)
        except Exception as error:  # the next section can still teach something
            self._keep(f"{name} failed", f"{type(error).__name__}: {error}"[:600])
            traceback.print_exc()
            return None
        finally:
            self._wait()
            self._say(f"-- {name}: {time.perf_counter() - began:.1f} s")

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()

    def _machine(self) -> None:
        import transformers

        card = torch.cuda.get_device_name() if self._device == "cuda" else "cpu"
        self._keep("machine", [card, torch.__version__, transformers.__version__, torch.backends.cudnn.version()])
        rates = claimed_bandwidth(self._device), copied_bandwidth(self._device)
        self._keep("bandwidth: claimed, of a copy, GB/s", [None if rate is None else rate / 1e9 for rate in rates])

    def _attention(self) -> None:
        """Masked attention as the model calls it, by kernel, against fp32: left padding, a block of image tokens."""
        kernels = {
            "default": None, "efficient": SDPBackend.EFFICIENT_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
            "math": SDPBackend.MATH,
        }  # fmt: skip
        worst: dict = {}
        head, device = self._sizes.head, self._device
        for heads_kv in (4, 1):  # MedGemma 4B has 4; of a single one the keys are a view of stride 0
            for width in self._sizes.widths:
                torch.manual_seed(width)
                q = torch.randn(4, 8, width, head, device=device, dtype=torch.bfloat16)
                k, v = (torch.randn(4, heads_kv, 1, width, head, device=device, dtype=torch.bfloat16) for _ in range(2))
                k, v = (t.expand(4, heads_kv, 8 // heads_kv, width, head).reshape(4, 8, width, head) for t in (k, v))
                place = torch.arange(width, device=device)
                image = (place > self._sizes.image[0]) & (place < self._sizes.image[1])
                seen = (place[:, None] >= place) | (image[:, None] & image)
                pads = torch.tensor([0, 7, width // 15, width // 5], device=device)
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
                        kept = torch.where(real, out.float(), 0.0)
                        error: object = ((kept - right).norm() / right.norm()).item()
                        padding = "finite" if torch.isfinite(out).all() else "not finite in the padding"
                    except RuntimeError as refused:
                        error, padding = f"refused: {str(refused)[:60]}", ""
                    worst[f"{heads_kv} KV heads, width {width}, {name}"] = (error, padding)
        self._keep("attention: relative error by kernel (in bf16 near 0.003)", worst)

    def _write(self) -> None:
        folder, began = self._room / "checkpoint", time.perf_counter()
        dtype = torch.bfloat16 if self._options.shape == "4b" else torch.float32
        write_checkpoint(folder, self._options.shape, dtype=dtype, device=self._device)
        written = time.perf_counter() - began
        self._source = resolve_source(str(folder), None, None)
        self._keep("checkpoint", {"write s": written, "digest s": time.perf_counter() - began - written})

    def _load(self, precision: str) -> LoadedModel:
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        loaded = loaded_model(self._source, precision, self._device, None)  # type: ignore[arg-type]
        peak = torch.cuda.max_memory_allocated() / 2**30 if self._device == "cuda" else None
        found = {"s": time.perf_counter() - began, "weights GiB": loaded.weights_gib, "peak GiB": peak}
        self._keep(f"{precision}: load", found)
        return loaded

    def _padding(self, loaded: LoadedModel) -> None:
        """Last-token logits of a row alone and left-padded beside a longer row, at every width up to some more."""
        engine = Engine(loaded)
        tokens = engine._tokenised([Prompt("short", PROMPTS[3], image=0)], len(IMAGES))[0][0].tokens
        model, image_token = loaded.model, loaded.processor.tokenizer.image_token_id
        with torch.inference_mode():
            (feature,) = image_features(model, loaded.processor, [IMAGES[0]])

        def last(lines: list) -> torch.Tensor:
            width = max(map(len, lines))
            ids = torch.tensor([[0] * (width - len(each)) + list(each) for each in lines], device=self._device)
            mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in lines], device=self._device)
            inputs = {
                "input_ids": ids,
                "attention_mask": mask,
                "token_type_ids": (ids == image_token).long(),
                "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
            }
            features = torch.stack([feature] * len(lines))
            with torch.inference_mode(), features_in_place(model, image_token, features):
                return model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()

        alone = last([tokens])[0]
        gaps = {}
        for extra in range(1, self._sizes.paddings + 1):
            beside = last([tokens, (*tokens, *[tokens[-6]] * extra)])[0]
            gaps[len(tokens) + extra] = ((beside - alone).abs().max() / alone.std()).item()
        worst = max(gaps, key=lambda width: gaps[width])
        found = {"worst": gaps[worst], "at width": worst, "mod 32": worst % 32, "median": np.median([*gaps.values()])}
        self._keep(f"{loaded.precision}: logits beside a longer row, largest gap in standard deviations", found)

    def _texts(self, loaded: LoadedModel) -> None:
        """Texts of a mixed batch against `generate` with pixels, one at a time."""
        tokens = self._sizes.text_tokens
        prompts = [
            Prompt(f"{i} {j}", text, image=i, image_first=bool(j % 2), max_new_tokens=tokens)
            for i in range(2)
            for j, text in enumerate(PROMPTS)
        ]
        written = {c.key: c.token_ids for b in Engine(loaded).run(prompts, IMAGES) for c in b.completions}
        same: list[object] = []
        for prompt in prompts:
            content: list[dict[str, object]] = [{"type": "text", "text": prompt.text}]
            picture = {"type": "image", "image": Image.fromarray(IMAGES[prompt.image or 0]).convert("RGB")}
            content.insert(0 if prompt.image_first else 1, picture)
            inputs = loaded.processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
            ).to(loaded.device)  # fmt: skip
            with torch.inference_mode():
                out = loaded.model.generate(
                    **inputs, do_sample=False, max_new_tokens=tokens, eos_token_id=list(loaded.stop_tokens)
                )
            ours, theirs = written.get(prompt.key), tuple(out[0, inputs["input_ids"].shape[1] :].tolist())
            same.append("no text" if ours is None else _first_difference(ours, theirs))
        name = f"{loaded.precision}: first token that differs from one at a time (None is equal)"
        self._keep(name, {"equal": same.count(None), "of": len(same), "first": same})

    def _speed(self, loaded: LoadedModel) -> None:
        """Reports a second, memory and share of the bandwidth's bound, by the benchmark's own rows."""
        sizes = self._sizes
        bench = self._referenced(loaded, sizes.singly)
        for batch in sizes.batches:
            self._add(bench.batch(batch, sizes.tokens, batch))
        self._add(bench.decoding(sizes.batches[-1], sizes.tokens))

    def _referenced(self, loaded: LoadedModel, reports: int) -> Bench:
        if self._bench is None:
            bench = Bench(loaded, IMAGES)
            self._add(bench.reference(self._sizes.tokens, reports))
            self._bench = bench
        return self._bench

    def _add(self, row: Measurement) -> None:
        self._rows.append(row)
        self._say(line(row))
        step = "" if row.step_ms is None else ", and a step"
        self._keep(f"{row.precision}: {row.batch}, {row.answer} tokens{step}", asdict(row))

    def _grammar(self, loaded: LoadedModel) -> None:
        """What the grammar costs: compiling it, the same batch with and without it, and a step of its masks alone."""
        from xgrammar.contrib.hf import LogitsProcessor

        from models.report_generation.json_answer import report_json_schema
        from models.report_generation.medgemma import constrained

        schema, began = report_json_schema(), time.perf_counter()
        vocabulary = load_vocabulary(self._source, None)
        grammar = constrained.compile_constraint(vocabulary, schema)
        self._keep("grammar: compile s, without the model", time.perf_counter() - began)
        for name, used in (("free", None), ("json", schema)):
            prompts = [
                Prompt(str(i), PROMPTS[1], image=i, max_new_tokens=self._sizes.json_tokens, json_schema=used)
                for i in range(self._sizes.rows)
            ]
            began = time.perf_counter()
            done = [c for b in Engine(loaded).run(prompts, IMAGES) for c in b.completions]
            seconds, steps = time.perf_counter() - began, max(c.generated_tokens for c in done)
            found = {"s": seconds, "steps": steps, "ms a step": 1000 * seconds / steps, "rows": len(done)}
            self._keep(f"grammar: {name}", found)
        ways = {
            "ours": lambda: constrained.JsonConstraint(vocabulary, schema),
            "contrib": lambda: LogitsProcessor(grammar),
        }
        for rows in self._sizes.matcher_rows:
            taken = {name: self._masking(make(), rows, vocabulary.size) for name, make in ways.items()}
            taken["applied by"] = constrained._backend(self._device)
            self._keep(f"grammar: ms of a step's masks, {rows} rows", taken)

    def _masking(self, constraint: Callable[..., torch.Tensor], rows: int, width: int) -> float | str:
        scores = torch.randn(rows, width, device=self._device)
        written, steps, seconds = torch.full((rows, 1), 2, device=self._device), 20, 0.0
        for step in range(steps + 1):
            given = scores.clone()
            self._wait()
            began = time.perf_counter()
            chosen = constraint(written, given).argmax(-1, keepdim=True)
            self._wait()
            seconds += (time.perf_counter() - began) if step else 0.0  # the first one makes the matchers
            written = torch.cat([written, chosen], dim=1)
        return 1000 * seconds / steps

    def _flow(self, loaded: LoadedModel) -> None:
        """The six strategies as the flow writes them, in tasks."""
        self._add(self._referenced(loaded, 2).flow(*self._sizes.flow))

    def _profile(self, loaded: LoadedModel) -> None:
        """Where a decoding step spends its time."""
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self._device == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        made = {}
        for tokens in (2, 12):
            prompts = [Prompt(f"{i}", LONG, image=i, max_new_tokens=tokens) for i in range(self._sizes.rows)]
            list(Engine(loaded).run(prompts, IMAGES))
            self._wait()
            with torch.profiler.profile(activities=kinds) as seen:
                began = time.perf_counter()
                list(Engine(loaded).run(prompts, IMAGES))
                self._wait()
                made[tokens] = time.perf_counter() - began
        averages = seen.key_averages()
        sort = "self_cuda_time_total" if self._device == "cuda" else "self_cpu_time_total"
        table = averages.table(sort_by=sort, row_limit=25, max_name_column_width=60)
        (self._options.out / f"profile_{loaded.precision}.txt").write_text(table)
        busy = sum(each.self_device_time_total for each in averages) / 1e6 if self._device == "cuda" else None
        found = {"ms a step, profiled": (made[12] - made[2]) * 100, "GPU busy s of 12 tokens": busy, "s": made[12]}
        self._keep(f"{loaded.precision}: profile", found)

    def _caches(self, loaded: LoadedModel) -> None:
        """The engine's static cache with compiled decoding, against the dynamic one: time, and texts that agree."""
        prompts = [
            Prompt(f"{i}", LONG, image=i % len(IMAGES), max_new_tokens=self._sizes.tokens)
            for i in range(self._sizes.rows)
        ]
        ways = {"dynamic": False, "static, compiled, first": True, "static, compiled, again": True}
        found: dict[str, dict[str, float]] = {}
        texts: dict[str, tuple[int, ...]] = {}
        for name, compiled in ways.items():
            if self._left() < self._sizes.left_for_caches:
                break
            began = time.perf_counter()
            engine = Engine(loaded, compiled=compiled)
            written = {each.key: each.token_ids for done in engine.run(prompts, IMAGES) for each in done.completions}
            self._wait()
            texts = texts or written
            same = sum(texts[key] == tokens for key, tokens in written.items()) / len(prompts)
            found[name] = {"s": time.perf_counter() - began, "rows": len(written), "same text as dynamic": same}
            self._keep(f"{loaded.precision}: {self._sizes.rows} rows by cache", found)


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    if ours == theirs:
        return None
    return next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check from the command line.

    Returns:
        Exit code: 0, or 2 where there is no GPU to check on.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.check", description=__doc__)
    parser.add_argument("--shape", choices=tuple(SIZES), default="4b", help="of the random checkpoint")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--seconds", type=float, default=460, help="after which no section begins")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu_check"), help="folder of the findings")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(
            "error: There is no GPU that PyTorch can use on this machine: run the check where there is one, or try its "
            "code with ARGS='--device cpu --shape small'.\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as room:
        Check(options, Path(room)).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
