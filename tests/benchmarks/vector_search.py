"""Exact and approximate search from 10⁴ to 10⁶ vectors, beside scikit-learn's brute force.

`python -m tests.benchmarks.vector_search --sizes 10000 100000` measures some sizes. Each engine runs in a process of
its own, so that its peak of memory is its own; recall is against the flat index.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import cast, get_args

import faiss
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.neighbors import NearestNeighbors

from models.choices import IndexKind
from models.vector_index import Kind, build, dump, normalize
from models.vector_index.ivf import NPROBE
from tasks.storage.locations import outputs
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.synthetic_embeddings import DIMENSIONS, EmbeddingFiles, draw

SIZES = (10_000, 100_000, 1_000_000)
ENGINES = (*get_args(Kind), "ivf mapped", "scikit-learn")
K = 10
QUERIES = 1000
COMPARED = {"flat": 200_000_000, "scikit-learn": 20_000_000}  # query-vector pairs at most: exact search is slow at 10⁶
ENCODER = "synthetic"
GOAL_RECALL = 0.95
GOAL_RATIO = 20.0  # queries/s over the flat index's at 10⁶
TEST_SPLIT = 624

Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]


@dataclass(frozen=True)
class SearchRow:
    """One engine at one size.

    Attributes:
        engine: flat, hnsw, ivf, "ivf mapped" (FAISS reads its lists from the file on demand) or scikit-learn.
        size: vectors.
        build_seconds: to build, or to open.
        index_mib: of the saved index; for scikit-learn of its vectors.
        peak_mib: greatest resident memory while building (or opening) and searching, over that before.
        queries: queries of the batch.
        recall: recall@10 against the flat index.
        queries_per_second: in one batch.
        p50_ms: median time of a single query.
        p99_ms: its 99th percentile.
    """

    engine: str
    size: int
    build_seconds: float
    index_mib: float
    peak_mib: float
    queries: int
    recall: float
    queries_per_second: float
    p50_ms: float
    p99_ms: float


def measure_sizes(sizes: Sequence[int] = SIZES, engines: Sequence[str] = ENGINES) -> list[SearchRow]:
    """Measure engines, of which the first is flat, at some sizes."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            EmbeddingFiles(folder, size).write()
            for engine in engines:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
                    rows.append(apart.submit(_measure, engine, folder, size).result())
                Console(stderr=True).print(f"measured: {engine} at {size}")
    return rows


def compare(rows: Sequence[SearchRow]) -> list[Comparison]:
    """Set the approximate engines at the largest size beside the exact ones, as far as they were measured."""
    largest = {row.engine: row for row in rows if row.size == SIZES[-1]}
    return [
        Comparison(
            name=f"{engine}: a query of a batch among 10⁶ × {DIMENSIONS}, recall@10 {largest[engine].recall:.3f}",
            ours=1 / largest[engine].queries_per_second,
            reference=1 / largest[exact].queries_per_second,
            reference_name=f"{exact}, exact",
            goal_ratio=GOAL_RATIO,
            peak_mib=largest[engine].peak_mib,
        )
        for engine in ("hnsw", "ivf")
        for exact in ("flat", "scikit-learn")
        if engine in largest and exact in largest
    ]


def measure_single_query() -> Comparison:
    """Search one query among as many vectors as the test split has."""
    vectors = draw(TEST_SPLIT, part=1)
    queries = draw(QUERIES, part=0)
    ids = np.arange(TEST_SPLIT)
    index = build([(vectors, ids, np.zeros_like(ids))], encoder=ENCODER)
    reference = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(vectors)
    ours, theirs = [], []
    for start in range(QUERIES):
        query = queries[start : start + 1]
        ours.append(_seconds(partial(index.search, query, K, encoder=ENCODER)))
        theirs.append(_seconds(partial(reference.kneighbors, query)))
    return Comparison(
        f"search of one query among {TEST_SPLIT} × {DIMENSIONS}", median(ours), median(theirs),
        "scikit-learn NearestNeighbors, brute force", goal_ratio=1.0, goal_seconds=1e-3,
    )  # fmt: skip


def table(rows: Sequence[SearchRow]) -> Table:
    """Lay the measurements out."""
    shown = Table(title=f"nearest {K} of vectors of {DIMENSIONS} dimensions; R@10: recall against flat")
    for column in ("size", "engine", "build s", "MiB", "peak MiB", "R@10", "q/s", "p50 ms", "p99 ms"):
        shown.add_column(column, justify="left" if column == "engine" else "right")
    for row in rows:
        shown.add_row(
            f"{row.size:,}", row.engine, f"{row.build_seconds:.1f}", f"{row.index_mib:.0f}", f"{row.peak_mib:.0f}",
            f"{row.recall:.3f}", f"{row.queries_per_second:.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}",
            style="yellow" if row.recall < GOAL_RECALL else None,
        )  # fmt: skip
    return shown


def _measure(engine: str, folder: Path, size: int) -> SearchRow:
    """Measure one engine; the flat index, which comes first, leaves the true neighbours and every kind its file."""
    queries = draw(QUERIES, part=0)
    if engine in COMPARED:
        queries = queries[: max(20, COMPARED[engine] // size)]
    before = _memory_mib("VmRSS")
    search, build_seconds, index_mib = _prepare(engine, EmbeddingFiles(folder, size))
    search(queries[:1])
    start = time.perf_counter()
    found = search(queries)
    batch_seconds = time.perf_counter() - start
    singles = [_seconds(partial(search, queries[row : row + 1])) for row in range(min(200, len(queries)))]
    peak_mib = _memory_mib("VmHWM") - before
    truth = folder / "truth.npy"
    if engine == "flat":
        np.save(truth, found)
    pairs = list(zip(found, np.load(truth), strict=False))
    return SearchRow(
        engine=engine,
        size=size,
        build_seconds=build_seconds,
        index_mib=index_mib,
        peak_mib=peak_mib,
        queries=len(queries),
        recall=float(np.mean([len(np.intersect1d(ours, true)) / K for ours, true in pairs])),
        queries_per_second=len(queries) / batch_seconds,
        p50_ms=1000 * float(np.percentile(singles, 50)),
        p99_ms=1000 * float(np.percentile(singles, 99)),
    )


def _prepare(engine: str, shards: EmbeddingFiles) -> tuple[Search, float, float]:
    """Build or open an engine's index: its search, seconds, and MiB."""
    start = time.perf_counter()
    if engine == "scikit-learn":
        vectors = np.concatenate([found for found, _, _ in shards])
        brute = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(vectors)
        seconds = time.perf_counter() - start
        return lambda queries: brute.kneighbors(queries, return_distance=False), seconds, vectors.nbytes / 2**20
    path = shards.folder / f"{engine.split()[0]}.index"
    if engine == "ivf mapped":
        reading = faiss.SearchParametersIVF(nprobe=NPROBE)  # type: ignore[call-arg]
        lists = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        seconds = time.perf_counter() - start
        return lambda queries: lists.search(normalize(queries), K, params=reading)[1], seconds, _mib(path)
    index = build(shards, encoder=ENCODER, kind=cast("IndexKind", engine))
    seconds = time.perf_counter() - start
    path.write_bytes(dump(index))
    return lambda queries: index.search(queries, K, encoder=ENCODER).ids, seconds, _mib(path)


def _mib(path: Path) -> float:
    return path.stat().st_size / 2**20


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _memory_mib(field: str) -> float:
    """Resident memory of this process (VmRSS) or its greatest so far (VmHWM), as Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def main() -> None:
    """Measure the sizes asked for, show them, and put them into `outputs/benchmarks.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of vectors")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES, help="always with flat first")
    arguments = parser.parse_args()
    rows = measure_sizes(arguments.sizes, ["flat", *(name for name in arguments.engines if name != "flat")])
    Console().print(table(rows))
    path = outputs() / "benchmarks.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text()) if path.exists() else {}
    measured = {(row.engine, row.size) for row in rows}
    others = [row for row in content.get("vector_search", []) if (row["engine"], row["size"]) not in measured]
    content["vector_search"] = others + [asdict(row) for row in rows]
    path.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
