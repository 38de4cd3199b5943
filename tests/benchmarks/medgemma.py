"""Reports per second and memory: batches with each image encoded once, beside one report at a time.

    python -m tests.benchmarks.medgemma --shape 4b --device cuda --precisions nf4,bf16

It needs no weights: it makes a checkpoint of MedGemma's own classes with random weights (of the exact 4B shape, or a
small one for a CPU), whose speed and memory are the real one's. It needs torch, transformers, accelerate and NumPy,
and bitsandbytes for NF4. The reference is what one would write by hand: `generate` with the image, a row at a time, so
that the image is encoded anew for each prompt.
"""

import argparse
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.report_generation.medgemma.checkpoint import LoadedModel, load_model, resolve_source
from models.report_generation.medgemma.engine import Engine, Prompt
from models.report_generation.medgemma.gemma3 import chat_inputs
from tests.support.medgemma_twin import write_checkpoint

TEST_IMAGES = 624
GOAL_RATIO, GOAL_WEIGHTS_GIB, GOAL_PEAK_GIB, GOAL_MINUTES = 20.0, 3.6, 16.0, 30.0
"""Aims on one H200: reports per second against one at a time; NF4 weights; peak of a batch of 8; six strategies on the
test split."""

PROMPTS = (
    "Describe this small chest radiograph of a child in two sentences, then give a label: normal or pneumonia.",
    "Write a structured report of this chest radiograph of a child. Use the sections Findings, Impression, "
    "Differential, Label, Certainty, Image quality and Limitations. For each finding say whether it is present, "
    "absent, uncertain or not assessable at this resolution, and do not report what so small a picture cannot show.",
    "List the explanations that you consider for this chest radiograph of a child, likeliest first, each with the sign "
    "that speaks for it and the sign against it. End with a label: normal or pneumonia.",
    "Is this chest radiograph of a child normal, or does it show pneumonia?",
    "You are a paediatric radiologist. Report this chest radiograph of a child to the clinician who asked for it, in "
    "the order in which you would read it, and close with an impression and a label: normal or pneumonia.",
    "A classifier gives this chest radiograph of a child a calibrated probability of pneumonia of 0.62 at an operating "
    "threshold of 0.50. The five most similar labelled cases are: pneumonia, pneumonia, normal, pneumonia, pneumonia. "
    "The classifier can be wrong: look at the picture first. Report it, and close with a label: normal or pneumonia.",
)
"""Six prompts about as long as the six strategies'."""


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    Attributes:
        precision: number format of the weights.
        batch: reports at once; "one at a time" is the reference, "best" was found by halving.
        largest: reports in the largest batch that ran.
        reports: how many were written.
        reports_per_second: how fast, images included.
        tokens_per_second: generated tokens.
        peak_gib: peak GPU memory, weights included, or None on a CPU.
        weights_gib: memory of the weights.
        ratio: reports per second over the reference's in the same precision.
    """

    precision: str
    batch: str
    largest: int
    reports: int
    reports_per_second: float
    tokens_per_second: float
    peak_gib: float | None
    weights_gib: float
    ratio: float


def measure(
    loaded: LoadedModel, batches: Sequence[int | None], images: NDArray[np.uint8], tokens: int, singly: int
) -> list[Measurement]:
    """Measure one checkpoint at several batch sizes beside one report at a time.

    Args:
        loaded: the model.
        batches: reports at once; None finds how many fit.
        images: shape (images, height, width), 0–255; each gets one report per prompt.
        tokens: length of every report: generation does not end before.
        singly: reports of the reference.

    Returns:
        The reference first, then one row per batch size.
    """
    loaded.model.generation_config.eos_token_id = None  # so that all write the same number of tokens
    unending = LoadedModel(**{**vars(loaded), "stop_tokens": ()})
    _one_at_a_time(loaded, images, tokens=2, count=1)  # warm up
    _reset_peak()
    seconds = _one_at_a_time(loaded, images, tokens, singly)
    peak = torch.cuda.max_memory_allocated() / 2**30 if loaded.device == "cuda" else None
    rows = [_row(loaded, "one at a time", 1, singly, seconds, tokens, singly / seconds, peak)]
    reference = rows[0].reports_per_second
    for batch in batches:
        count = (
            len(images) if batch is None or batch > len(PROMPTS) else max(1, min(len(images), singly // len(PROMPTS)))
        )
        prompts = [
            Prompt(key=f"{i} {j}", text=text, image=i, max_new_tokens=tokens)
            for i in range(count)
            for j, text in enumerate(PROMPTS)
        ]
        engine = Engine(unending, batch)
        _reset_peak()
        started = time.perf_counter()
        finished = list(engine.run(prompts, images[:count]))
        seconds = time.perf_counter() - started
        failures = [failure for done in finished for failure in done.failures]
        if failures:
            raise RuntimeError(f"{len(failures)} of {len(prompts)} reports failed, the first with: {failures[0].error}")
        written = [completion for done in finished for completion in done.completions]
        largest = max(completion.batch_size for completion in written)
        peak = max((completion.peak_gib for completion in written if completion.peak_gib is not None), default=None)
        rows.append(
            _row(
                loaded, "best" if batch is None else str(batch), largest, len(written), seconds, tokens, reference, peak
            )
        )
    return rows


def _row(
    loaded: LoadedModel,
    batch: str,
    largest: int,
    reports: int,
    seconds: float,
    tokens: int,
    reference: float,
    peak: float | None,
) -> Measurement:
    return Measurement(
        precision=loaded.precision,
        batch=batch,
        largest=largest,
        reports=reports,
        reports_per_second=reports / seconds,
        tokens_per_second=reports * tokens / seconds,
        peak_gib=peak,
        weights_gib=loaded.weights_gib,
        ratio=reports / seconds / reference,
    )


def _one_at_a_time(loaded: LoadedModel, images: NDArray[np.uint8], tokens: int, count: int) -> float:
    """Write reports as one would by hand, and return the seconds."""
    processor, started = loaded.processor, time.perf_counter()
    for number in range(count):
        image = Image.fromarray(images[number // len(PROMPTS) % len(images)])
        inputs = chat_inputs(processor, image, PROMPTS[number % len(PROMPTS)]).to(loaded.device)
        with torch.inference_mode():
            written = loaded.model.generate(**inputs, do_sample=False, top_k=None, top_p=None, max_new_tokens=tokens)
        processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    if loaded.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _reset_peak() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line.

    Returns:
        Exit code 0; a missed goal is shown, not an error.
    """
    options = _parser().parse_args(arguments)
    images = np.random.default_rng(0).integers(0, 256, (options.images, 28, 28), dtype=np.uint8)
    batches = [None if word == "best" else int(word) for word in options.batches.split(",")]
    rows: list[Measurement] = []
    with tempfile.TemporaryDirectory() as room:
        folder = options.checkpoint or Path(room) / "checkpoint"
        if not (folder / "config.json").exists():
            dtype = torch.bfloat16 if options.shape == "4b" else torch.float32
            write_checkpoint(folder, options.shape, dtype=dtype, device=options.device)
        source = resolve_source(str(folder), None, None)
        for precision in options.precisions.split(","):
            loaded = load_model(source, precision, options.device, None)
            rows += measure(loaded, batches, images, options.tokens, options.singly)
            _say("\n".join(map(_line, rows[-1 - len(batches) :])))
            del loaded
            _reset_peak()
    for line in _goals(rows):
        _say(line)
    device = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    _say(
        f"{device}, torch {torch.__version__}, {options.shape} shape, random weights, "
        f"{options.tokens} tokens per report"
    )
    if options.output:
        options.output.write_text(json.dumps({"device": device, "rows": [asdict(row) for row in rows]}, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.medgemma", description=__doc__)
    parser.add_argument("--shape", choices=("small", "4b"), default="small", help="of the random checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="folder of the checkpoint, made there if need be")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precisions", default="nf4,bf16", help="of nf4, bf16, fp32")
    parser.add_argument("--batches", default="1,8,32,64,best", help="reports at once")
    parser.add_argument("--images", type=int, default=64, help="images; each gets six reports")
    parser.add_argument("--tokens", type=int, default=128, help="length of every report")
    parser.add_argument("--singly", type=int, default=12, help="reports of the reference and of small batches")
    parser.add_argument("--output", type=Path, help="JSON file to write the rows to")
    return parser


def _line(row: Measurement) -> str:
    peak = "" if row.peak_gib is None else f"  peak {row.peak_gib:6.2f} GiB"
    return (
        f"{row.precision}  {row.batch:>13}  (largest batch {row.largest:3d})  {row.reports_per_second:8.3f} reports/s  "
        f"{row.tokens_per_second:9.1f} tokens/s  weights {row.weights_gib:5.2f} GiB{peak}  {row.ratio:6.1f}×"
    )


def _goals(rows: Sequence[Measurement]) -> list[str]:
    fastest = max(rows, key=lambda row: row.ratio)
    quickest = max(rows, key=lambda row: row.reports_per_second)
    minutes = TEST_IMAGES * len(PROMPTS) / quickest.reports_per_second / 60
    lines = [
        _goal(
            f"{fastest.precision} at {fastest.batch}: {fastest.ratio:.1f}× of one at a time",
            fastest.ratio >= GOAL_RATIO,
            f"≥ {GOAL_RATIO:g}×",
        ),
        _goal(
            f"six strategies on {TEST_IMAGES} images: {minutes:.1f} minutes",
            minutes < GOAL_MINUTES,
            f"< {GOAL_MINUTES:g}",
        ),
    ]
    for row in rows:
        if row.precision == "nf4" and row.batch == "8":
            lines.append(
                _goal(
                    f"NF4 weights: {row.weights_gib:.2f} GiB",
                    row.weights_gib <= GOAL_WEIGHTS_GIB,
                    f"≤ {GOAL_WEIGHTS_GIB:g} GiB",
                )
            )
            if row.peak_gib is not None:
                lines.append(
                    _goal(
                        f"NF4 batch of 8: peak {row.peak_gib:.2f} GiB",
                        row.peak_gib <= GOAL_PEAK_GIB,
                        f"≤ {GOAL_PEAK_GIB:g} GiB",
                    )
                )
    return lines


def _goal(measured: str, met: bool, aim: str) -> str:
    return f"{measured} (goal on an H200: {aim}) {'met' if met else 'missed'}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
