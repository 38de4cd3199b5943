"""Exactly once: rows that were computed are kept, a shard at a time, under the name of all that decides them.

<folder>/<fingerprint>/job.json             what the fingerprint stands for
<folder>/<fingerprint>/shards/<sha256>.json a finished shard, written whole, with its digest for a name
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.storage.store import Store

logger = logging.getLogger(__name__)

R = TypeVar("R")


class FinishedRows(Generic[R]):
    """The finished rows of one job: all that is computed with one identity.

    Args:
        store: where they lie.
        folder: where in the store the jobs of this kind lie.
        identity: all that decides the rows, beside what they are about; JSON values.
        rows: how a shard is read and written.

    Attributes:
        fingerprint: digest of the identity.
        place: folder of the job in the store.
    """

    def __init__(
        self, store: Store, folder: str, identity: Mapping[str, object], rows: TypeAdapter[Sequence[R]]
    ) -> None:
        self._store, self._rows = store, rows
        self._read: set[str] = set()
        described = json.dumps(dict(identity), indent=1, sort_keys=True).encode()
        self.fingerprint = hashlib.sha256(described).hexdigest()
        self.place = f"{folder}/{self.fingerprint[:16]}"
        # It is for people, since the folder is named by its digest: one that is damaged is whole again with this.
        store.write(f"{self.place}/job.json", described)  # also where it is there: garbage goes by the last use

    def read(self) -> Iterator[R]:
        """Read every finished row; what is damaged counts as missing."""
        self._read.clear()
        return self.read_new()

    def read_new(self) -> Iterator[R]:
        """Read the rows of the shards that this object has not read yet, which others may have finished."""
        for name in self._store.list(f"{self.place}/shards"):
            if name not in self._read:
                content = self._store.read(name)
                if content is not None and hashlib.sha256(content).hexdigest() in name:
                    self._read.add(name)
                    try:
                        rows = self._rows.validate_json(content)
                    except ValidationError:
                        logger.warning("%s in the store is ignored, since it holds no such rows.", name)
                        continue
                    yield from rows

    def write(self, rows: Sequence[R]) -> None:
        """Keep a finished shard, whole or not at all."""
        if rows:
            content = self._rows.dump_json(rows)
            self._store.write(f"{self.place}/shards/{hashlib.sha256(content).hexdigest()}.json", content)
