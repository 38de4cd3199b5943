"""Reports per second, memory and share of the memory's bandwidth: batches beside one report at a time.

    python -m tests.benchmarks.medgemma --shape 4b --device cuda --precisions nf4,bf16 --output rows.json

It needs no weights: it makes a checkpoint of MedGemma's own classes with random weights (of the exact 4B shape, or a
small one for a CPU), whose speed and memory are the real one's. It needs torch, transformers, accelerate, pydantic and
NumPy, bitsandbytes for NF4, and xgrammar for JSON. The reference is what one would write by hand: `generate` with the
image, a row at a time, so that the image is encoded anew for each prompt.

Each row is printed, and written to the file, as soon as it is measured. With the defaults a precision takes about 2,400
decoding steps of at most 256 rows; at 30 to 50 ms a step, as estimated for an H100, that is 1 to 2 minutes, and another
one for loading and for the prompts.
"""

import argparse
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.report_generation.medgemma.checkpoint import LoadedModel, loaded_model, resolve_source
from models.report_generation.medgemma.engine import Completion, Engine, Prompt
from models.report_generation.medgemma.gemma3 import chat_inputs, resident_bytes
from models.report_generation.medgemma.memory import decode_bytes
from tests.benchmarks.bandwidth import claimed_bandwidth, copied_bandwidth
from tests.support.medgemma_twin import write_checkpoint

TEST_IMAGES = 624
GOAL_RATIO, GOAL_WEIGHTS_GIB, GOAL_PEAK_GIB, GOAL_MINUTES, GOAL_BOUND = 40.0, 3.6, 16.0, 10.0, 0.35
"""Aims on one H100 or H200: reports per second against one at a time; NF4 weights; peak of a batch of 8; six strategies
on the test split as the flow writes them; least time of a decoding step, by the memory's bandwidth, over its time."""
LARGEST = 256
ROWS_PER_TASK = 1536  # as the flow cuts them
STRATEGIES_OF_REPORTS = ("concise", "structured", "differential", "zero_shot", "clinical_role", "context_aware")
JSON_TOKENS = 400

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
        batch: what ran: reports at once ("best": as many as fit), "one at a time" for the reference, "flow".
        answer: limit of an answer in tokens, and "JSON" where a grammar holds it.
        largest: reports in the largest batch that ran.
        reports: how many were written.
        seconds: what they took, images included.
        reports_per_second: how fast that is.
        tokens_per_second: generated tokens.
        peak_gib: peak GPU memory, weights included, or None on a CPU.
        weights_gib: memory of the weights.
        ratio: the seconds that one at a time takes for as many tokens, over these; in the same precision.
        step_ms: a decoding step of this batch in milliseconds, where it was measured.
        bound: the least time of a step by the bandwidth that the card claims (on a CPU: that a copy reaches), over its
            time.
        copy_bound: the same by the bandwidth of a copy.
    """

    precision: str
    batch: str
    answer: str
    largest: int
    reports: int
    seconds: float
    reports_per_second: float
    tokens_per_second: float
    peak_gib: float | None
    weights_gib: float
    ratio: float
    step_ms: float | None = None
    bound: float | None = None
    copy_bound: float | None = None


@dataclass(frozen=True)
class _Done:
    completions: list[Completion]
    seconds: float
    peak_gib: float | None


class Bench:
    """Measures one loaded checkpoint; the reference first, since all else is put beside it."""

    def __init__(self, loaded: LoadedModel, images: NDArray[np.uint8]) -> None:
        """Prepare to measure.

        Args:
            loaded: the model.
            images: shape (images, height, width), 0–255.
        """
        self._loaded, self._images = loaded, images
        self._unending = replace(loaded, stop_tokens=())
        self._start = self._token = 0.0  # seconds of one report alone before its first token, and for each

    def reference(self, tokens: int, count: int) -> Measurement:
        """Write reports one at a time, of two lengths, from which the time of any other follows.

        Args:
            tokens: length of a report; generation does not end before.
            count: reports.
        """
        self._loaded.model.generation_config.eos_token_id = None  # so that all write the same number of tokens
        _one_at_a_time(self._loaded, self._images, tokens=2, count=1)  # warm up
        _reset_peak()
        short, some = max(1, tokens // 8), max(1, count // 3)
        little = _one_at_a_time(self._loaded, self._images, short, some) / some
        seconds = _one_at_a_time(self._loaded, self._images, tokens, count)
        self._token = max(0.0, (seconds / count - little) / max(1, tokens - short))
        self._start = seconds / count - tokens * self._token
        peak = torch.cuda.max_memory_allocated() / 2**30 if self._loaded.device == "cuda" else None
        return self._row("one at a time", str(tokens), 1, [tokens] * count, seconds, peak)

    def batch(self, batch: int | None, tokens: int, reports: int, *, json_schema: str | None = None) -> Measurement:
        """Write reports in batches.

        Args:
            batch: reports at once, or None for as many as fit.
            tokens: length of each; of JSON the limit.
            reports: how many.
            json_schema: schema that they are held to, or None for free text that does not end before its length.
        """
        done = self._run(batch, tokens, reports, json_schema)
        lengths = [completion.generated_tokens for completion in done.completions]
        largest = max(completion.batch_size for completion in done.completions)
        name = "best" if batch is None else str(batch)
        answer = f"{tokens}" + (" JSON" if json_schema else "")
        return self._row(name, answer, largest, lengths, done.seconds, done.peak_gib)

    def decoding(self, rows: int, tokens: int) -> Measurement:
        """Measure a decoding step: one batch, long and short.

        Args:
            rows: reports at once.
            tokens: length of the longer ones.
        """
        short = max(1, tokens // 8)
        little, done = (self._run(rows, length, rows, None) for length in (short, tokens))
        row = self._row(str(rows), str(tokens), rows, [tokens] * rows, done.seconds, done.peak_gib)
        largest = max(completion.batch_size for completion in done.completions)
        if largest < rows or tokens == short:
            return row  # it did not fit in one batch
        step = max((done.seconds - little.seconds) / (tokens - short), 1e-9)
        width = max(completion.prompt_tokens for completion in done.completions)
        model, device = self._loaded.model, self._loaded.device
        read = decode_bytes(
            model.config,
            rows=rows,
            length=width + (short + tokens) // 2,
            weights_bytes=resident_bytes(model.model.language_model),  # whose embedding is the output layer
            bytes_per_number=model.dtype.itemsize,
        )
        copied = copied_bandwidth(device)
        claimed = claimed_bandwidth(device) or copied
        return replace(row, step_ms=1000 * step, bound=read / claimed / step, copy_bound=read / copied / step)

    def flow(self, images: int, rows_per_task: int, strategies: Sequence[str] = STRATEGIES_OF_REPORTS) -> Measurement:
        """Write what the flow writes, as it does: the strategies with their own limits and schemas, in tasks.

        Args:
            images: cases; a case of another number shows one of the images again.
            rows_per_task: as in the flow's form.
            strategies: of reports.
        """
        from models.report_generation.generator import row_of
        from models.report_generation.medgemma.generator import MedGemmaGenerator
        from models.report_generation.schema import Case, NeighbourEvidence, Request

        loaded = self._loaded
        writer = MedGemmaGenerator(
            source=loaded.source,
            precision=loaded.precision,
            device=loaded.device,
            report_strategies=tuple(strategies),
            image_first=True,
            batch_size=None,
            dataset="benchmark",
            classifier_sha256="c" * 64,
            phantoms=True,
        )
        neighbours = tuple(
            NeighbourEvidence(index=index, label="pneumonia", similarity=0.9, split="train") for index in range(5)
        )
        rows = [
            row_of(writer, Request(case=case, image=index, image_sha256=str(index), strategy=strategy))
            for index in range(images)
            for case in [
                Case(index=index, image_sha256=str(index), probability=0.62, threshold=0.5, neighbours=neighbours,
                     heat_region="centre of the image", heat_share=0.4)
            ]
            for strategy in strategies
        ]  # fmt: skip
        shown = np.stack([self._images[index % len(self._images)] for index in range(images)])
        shown[:, 0, 0] = np.arange(images) % 256  # so that each is another
        writer.prepare()  # as before a GPU is held
        size = max(1, rows_per_task // len(strategies)) * len(strategies)  # whole cases
        _reset_peak()
        started = time.perf_counter()
        tasks = [rows[first : first + size] for first in range(0, len(rows), size)]
        written = [done for task in tasks for batch in writer.write(task, shown) for done in batch]
        seconds = time.perf_counter() - started
        usages = [done.usage for done in written if done.usage]
        # Of a random network some texts are empty, and count as failed; they took their time.
        lengths = [usage.generated_tokens for usage in usages] + [1] * (len(written) - len(usages))
        peaks = [usage.peak_gib for usage in usages if usage.peak_gib is not None]
        largest = max((usage.batch_size for usage in usages), default=0)
        name = f"flow, {len(tasks)} tasks" if len(tasks) > 1 else "flow, 1 task"
        return self._row(name, "as asked", largest, lengths, seconds, max(peaks, default=None))

    def _run(self, batch: int | None, tokens: int, reports: int, json_schema: str | None) -> _Done:
        prompts = [
            Prompt(
                key=str(number),
                text=PROMPTS[number % len(PROMPTS)],
                image=number // len(PROMPTS) % len(self._images),
                max_new_tokens=tokens,
                json_schema=json_schema,
            )
            for number in range(reports)
        ]
        engine = Engine(self._loaded if json_schema else self._unending, batch)
        _reset_peak()
        started = time.perf_counter()
        finished = list(engine.run(prompts, self._images))
        seconds = time.perf_counter() - started
        failures = [failure for done in finished for failure in done.failures]
        if failures:
            raise RuntimeError(f"{len(failures)} of {reports} reports failed, the first with: {failures[0].error}")
        written = [completion for done in finished for completion in done.completions]
        peaks = [completion.peak_gib for completion in written if completion.peak_gib is not None]
        return _Done(written, seconds, max(peaks, default=None))

    def _row(
        self, batch: str, answer: str, largest: int, lengths: Sequence[int], seconds: float, peak: float | None
    ) -> Measurement:
        alone = sum(self._start + self._token * length for length in lengths)
        return Measurement(
            precision=self._loaded.precision,
            batch=batch,
            answer=answer,
            largest=largest,
            reports=len(lengths),
            seconds=seconds,
            reports_per_second=len(lengths) / seconds,
            tokens_per_second=sum(lengths) / seconds,
            peak_gib=peak,
            weights_gib=self._loaded.weights_gib,
            ratio=alone / seconds,
        )


def measure(loaded: LoadedModel, images: NDArray[np.uint8], plan: argparse.Namespace) -> Iterator[Measurement]:
    """Measure a checkpoint, the row that teaches most first.

    Args:
        loaded: the model.
        images: shape (images, height, width), 0–255.
        plan: the options of the command line: `tokens`, `singly`, `batches`, `lengths`, `flow_images`, `rows_per_task`.

    Yields:
        The reference, then batches of several sizes, one of several lengths, a decoding step, JSON, and the flow.
    """
    from models.report_generation.json_answer import report_json_schema

    bench = Bench(loaded, images)
    yield bench.reference(plan.tokens, plan.singly)
    sizes = [None if word == "best" else int(word) for word in plan.batches.split(",")]
    most = max((size for size in sizes if size is not None), default=LARGEST)
    for size in sizes:
        yield bench.batch(size, plan.tokens, max(size or most, plan.singly))
    yield bench.decoding(most, plan.tokens)
    yield bench.flow(plan.flow_images, plan.rows_per_task, plan.strategies.split(","))
    yield bench.batch(most, min(JSON_TOKENS, plan.json_tokens), most, json_schema=report_json_schema())
    for length in (int(word) for word in plan.lengths.split(",") if word):
        yield bench.batch(most, length, most)


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
    device = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    _say(f"{device}, torch {torch.__version__}, {options.shape} shape, random weights")
    rows: list[Measurement] = []
    with tempfile.TemporaryDirectory() as room:
        folder = options.checkpoint or Path(room) / "checkpoint"
        if not (folder / "config.json").exists():
            dtype = torch.bfloat16 if options.shape == "4b" else torch.float32
            write_checkpoint(folder, options.shape, dtype=dtype, device=options.device)
        source = resolve_source(str(folder), None, None)
        for precision in options.precisions.split(","):
            loaded = loaded_model(source, precision, options.device, None)
            for row in measure(loaded, images, options):
                rows.append(row)
                _say(line(row))
                if options.output:
                    options.output.write_text(
                        json.dumps({"device": device, "rows": [asdict(each) for each in rows]}, indent=1)
                    )
            del loaded
    for goal in goals(rows):
        _say(goal)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.medgemma", description=__doc__)
    parser.add_argument("--shape", choices=("small", "4b"), default="small", help="of the random checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="folder of the checkpoint, made there if need be")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precisions", default="nf4,bf16", help="of nf4, bf16, fp32")
    parser.add_argument("--batches", default="8,64,256", help="reports at once; best: as many as fit")
    parser.add_argument("--images", type=int, default=43, help="different images; each is used by six prompts")
    parser.add_argument("--tokens", type=int, default=64, help="length of a report")
    parser.add_argument("--lengths", default="256", help="other lengths, at the largest batch")
    parser.add_argument("--json-tokens", type=int, default=JSON_TOKENS, help="limit of a JSON answer")
    parser.add_argument("--flow-images", type=int, default=128, help="cases that are written as the flow does")
    parser.add_argument("--strategies", default=",".join(STRATEGIES_OF_REPORTS), help="of the flow's reports")
    parser.add_argument("--rows-per-task", type=int, default=ROWS_PER_TASK, help="as in the flow's form")
    parser.add_argument("--singly", type=int, default=6, help="reports of the reference, and fewest of a batch")
    parser.add_argument("--output", type=Path, help="JSON file to write the rows to, each at once")
    return parser


def line(row: Measurement) -> str:
    """Write a row of the table."""
    peak = "" if row.peak_gib is None else f"  peak {row.peak_gib:6.2f} GiB"
    step = ""
    if row.step_ms is not None and row.bound is not None and row.copy_bound is not None:
        step = f"  {row.step_ms:.1f} ms a step, {row.bound:.0%} of the bound ({row.copy_bound:.0%} of a copy's)"
    return (
        f"{row.precision}  {row.batch:>13}  {row.answer:>9} tokens  (largest batch {row.largest:3d})  "
        f"{row.reports_per_second:8.3f} reports/s  {row.tokens_per_second:9.1f} tokens/s  "
        f"weights {row.weights_gib:5.2f} GiB{peak}  {row.ratio:6.1f}×{step}"
    )


def goals(rows: Sequence[Measurement]) -> list[str]:
    """Put the figures beside their aims."""
    found = []
    batches = [row for row in rows if row.batch != "one at a time" and not row.batch.startswith("flow")]
    if batches:
        best = max(batches, key=lambda row: row.ratio)
        what = f"{best.precision}, {best.batch} at once, {best.answer} tokens: {best.ratio:.1f}× of one at a time"
        found.append(_goal(what, best.ratio >= GOAL_RATIO, f"≥ {GOAL_RATIO:g}×"))
    for row in rows:
        if row.batch.startswith("flow"):
            minutes = TEST_IMAGES * len(STRATEGIES_OF_REPORTS) / row.reports_per_second / 60
            what = f"{row.precision}: six strategies on {TEST_IMAGES} images at the flow's rate: {minutes:.1f} minutes"
            found.append(_goal(what, minutes < GOAL_MINUTES, f"< {GOAL_MINUTES:g}"))
        if row.bound is not None:
            what = f"{row.precision}, a step of {row.batch} rows: {row.bound:.0%} of the bandwidth bound"
            found.append(_goal(what, row.bound >= GOAL_BOUND, f"≥ {GOAL_BOUND:.0%}"))
    eights = {row.precision: row for row in rows if row.batch == "8"}
    found += _memory_goals(eights)
    return found


def _memory_goals(eights: Mapping[str, Measurement]) -> list[str]:
    row = eights.get("nf4")
    if row is None:
        return []
    weights = _goal(
        f"NF4 weights: {row.weights_gib:.2f} GiB", row.weights_gib <= GOAL_WEIGHTS_GIB, f"≤ {GOAL_WEIGHTS_GIB:g} GiB"
    )
    if row.peak_gib is None:
        return [weights]
    peak = f"NF4 batch of 8: peak {row.peak_gib:.2f} GiB"
    return [weights, _goal(peak, row.peak_gib <= GOAL_PEAK_GIB, f"≤ {GOAL_PEAK_GIB:g} GiB")]


def _goal(measured: str, met: bool, aim: str) -> str:
    return f"{measured} (goal on an H100 or H200: {aim}) {'met' if met else 'missed'}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
