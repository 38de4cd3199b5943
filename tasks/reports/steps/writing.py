"""Steps that write the reports in batches and read them."""

import contextlib
import time
from collections.abc import Sequence

from tasks.execution import progress
from tasks.execution.caching import step
from tasks.execution.fingerprint import fingerprint
from tasks.execution.gpu import gpu_slot
from tasks.execution.secrets import generator_secret
from tasks.records.base import ProgressReference
from tasks.records.data import DatasetRecord
from tasks.records.reports import AnswersRecord, RequestsRecord, WrittenRecord
from tasks.reports import generators
from tasks.reports.jobs import Job, done_rows, write_rows
from tasks.reports.reading import read_answers
from tasks.reports.requests import rows_of_cases
from tasks.reports.stored_lists import ANSWERS, ROWS, WRITTEN
from tasks.storage.store import Store


@step
def write_reports(
    dataset: DatasetRecord, requests: RequestsRecord, first: int, last: int, shown: ProgressReference
) -> WrittenRecord:
    """Write the rows of some of the cases, those from `first` up to but without `last`, and not again what is kept."""
    store, record = Store(), requests.generator
    rows = rows_of_cases(ROWS.load(store, requests.requests), first, last)
    images = store.get_arrays(requests.images)["images"]
    secret = generator_secret(record.name, record.token_block, record.key_block, record.server)
    generator = generators.make(record, dataset, requests.classifier_sha256, secret)
    made_by = fingerprint(generator.code)._asdict()
    job = Job(store, {**generator.identity, "generator": generator.name, **made_by})
    kept = done_rows(job, rows)
    done, missing = list(kept), len(rows) - len(kept)
    progress.advance(shown, len(done))
    if missing:
        generator.prepare()
    started = time.perf_counter()
    with gpu_slot() if missing and record.name == "medgemma" else contextlib.nullcontext():
        for batch in write_rows(job, generator, rows, images, kept):
            done += batch
            progress.advance(shown, len(batch))
    usages = [written.usage for written in done if written.usage]
    return WrittenRecord(
        rows=WRITTEN.save(store, done),
        quarantined=tuple(job.quarantine(written.row_id) for written in done if written.error is not None),
        count=len(done),
        tokens=sum(usage.generated_tokens for usage in usages),
        seconds=sum(usage.seconds for usage in usages) if usages else time.perf_counter() - started,
        peak_gib=max((usage.peak_gib for usage in usages if usage.peak_gib is not None), default=None),
    )


@step
def read_reports(dataset: DatasetRecord, requests: RequestsRecord, batches: list[WrittenRecord]) -> AnswersRecord:
    """Read the report out of each text; one that cannot be read is kept as it is, with the reason."""
    store = Store()
    generator = generators.make(requests.generator, dataset, requests.classifier_sha256)
    written = [row for batch in batches for row in WRITTEN.load(store, batch.rows)]
    answers = read_answers(generator, ROWS.load(store, requests.requests), written)
    failed = sum(row.error is not None for row in written)
    return AnswersRecord(answers=ANSWERS.save(store, answers), count=len(answers), failed=failed)


def throughput_metrics(batches: Sequence[WrittenRecord]) -> dict[str, float]:
    """Say how fast the rows were written, however long ago, and what GPU memory that took."""
    tokens, seconds = sum(batch.tokens for batch in batches), sum(batch.seconds for batch in batches)
    peaks = [batch.peak_gib for batch in batches if batch.peak_gib is not None]
    return {
        "reports/seconds_per_report": seconds / sum(batch.count for batch in batches),
        **({"reports/tokens_per_second": tokens / seconds} if tokens else {}),
        **({"gpu/peak_memory_gib": max(peaks)} if peaks else {}),
    }
