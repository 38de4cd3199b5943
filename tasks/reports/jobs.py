"""Exactly once: what a generator has written is kept batch by batch, and only what is missing is written again.

A job is everything that a generator with one identity writes. It owns a folder of the store:

    jobs/<fingerprint>/job.json             what the fingerprint stands for
    jobs/<fingerprint>/shards/<sha256>.json a finished batch, written whole, with its digest for a name
    jobs/<fingerprint>/quarantine/<row>.json a row that failed in a batch of its own, with its error

A row is done once it is in a shard or in quarantine. A killed run loses the batch it was in and nothing else.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from models.report_generation.generator import ReportGenerator, Row, Written
from tasks.records.base import StoredFile
from tasks.storage.finished_rows import FinishedRows
from tasks.storage.store import Store

logger = logging.getLogger(__name__)

_BATCH: TypeAdapter[Sequence[Written]] = TypeAdapter(list[Written])


class Job:
    """The folder of one job.

    Args:
        store: where it lies.
        identity: all that decides what the rows' texts are, beside the rows; JSON values.
    """

    def __init__(self, store: Store, identity: Mapping[str, object]) -> None:
        self._store = store
        self._written = FinishedRows(store, "jobs", identity, _BATCH)
        self.fingerprint = self._written.fingerprint
        self._folder = self._written.place

    def done(self) -> dict[str, Written]:
        """Read every finished row, by id; what is damaged counts as missing."""
        found: dict[str, Written] = {}
        for row in self._written.read():
            found.setdefault(row.row_id, row)
        for name in self._store.list(f"{self._folder}/quarantine"):
            failed = self._store.read_note(name, Written)
            if failed is not None and name == self._quarantined(failed.row_id):
                found.setdefault(failed.row_id, failed)
        return found

    def keep(self, batch: Sequence[Written]) -> None:
        """Keep a finished batch: what was written as one shard, what failed in quarantine."""
        self._written.write([row for row in batch if row.error is None])
        for failed in batch:
            if failed.error is not None:
                self._store.write(
                    self._quarantined(failed.row_id), failed.model_dump_json(indent=1, ensure_ascii=True).encode()
                )

    def quarantine(self, row_id: str) -> StoredFile:
        """Name the file of a failed row; once it is removed, the row is tried again."""
        name = self._quarantined(row_id)
        content = self._store.read(name) or b""
        digest = hashlib.sha256(content).hexdigest()
        return StoredFile(uri=name, sha256=digest, size=len(content), media_type="application/json")

    def _quarantined(self, row_id: str) -> str:
        return f"{self._folder}/quarantine/{row_id}.json"


def done_rows(job: Job, rows: Sequence[Row]) -> list[Written]:
    """Tell what the job has of some rows, each once."""
    wanted, known = dict.fromkeys(row.id for row in rows), job.done()
    return [known[row_id] for row_id in wanted if row_id in known]


def write_rows(
    job: Job, generator: ReportGenerator, rows: Sequence[Row], images: NDArray[np.uint8], done: Sequence[Written] = ()
) -> Iterator[list[Written]]:
    """Write those rows that are missing, and keep each batch before the next begins.

    Args:
        job: the generator's job.
        generator: what writes.
        rows: all rows of the task; a row may stand there twice.
        images: what their requests count in, shape (images, height, width), 0–255.
        done: what the job has of them.

    Yields:
        Each batch, once it is kept.

    Raises:
        RuntimeError: the generator lost a row, wrote one twice, or made one up.
    """
    wanted, known = {row.id: row for row in rows}, {written.row_id: written.batch_limit or 0 for written in done}
    missing = len(wanted) - len(known)
    waiting = set(wanted) - set(known)
    for batch in generator.write(list(wanted.values()), images, known):
        job.keep(batch)
        for written in batch:
            if written.row_id not in waiting:
                raise RuntimeError(f"the generator wrote row {written.row_id} twice or unasked")
            waiting.remove(written.row_id)
        yield batch
    if waiting:
        raise RuntimeError(f"{len(waiting)} of {missing} rows came out neither written nor failed")
