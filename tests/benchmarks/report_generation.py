"""Reports of a small language model in batches, beside one report at a time with the image encoded for each prompt."""

import tempfile
from pathlib import Path

import numpy as np

from models.report_generation.medgemma.checkpoint import load_model, resolve_source
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.medgemma import Bench
from tests.support.medgemma_twin import write_checkpoint

IMAGES, TOKENS, SINGLY, BATCH, REPORTS = 8, 64, 12, 32, 48


def measure() -> Comparison:
    """Measure a batch of 32 on the CPU with the small random checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_model(resolve_source(str(write_checkpoint(Path(folder))), None, None), "fp32", "cpu", None)
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28), dtype=np.uint8)
        bench = Bench(loaded, images)
        reference, batched = bench.reference(TOKENS, SINGLY), bench.batch(BATCH, TOKENS, REPORTS)
    return Comparison(
        name=f"a report of {TOKENS} tokens, small random Gemma 3, batches of {BATCH}",
        ours=1 / batched.reports_per_second,
        reference=1 / reference.reports_per_second,
        reference_name="one report at a time, image encoded for each prompt",
        goal_ratio=5,
    )
