"""Checkpoints of trainings in the store."""

import hashlib

from tasks.storage.store import Store


class StoredCheckpoints:
    """Checkpoints of one training job: the latest two, each with its digest in its name.

    Args:
        store: where they lie.
        job: identity of the job; a resumed job finds its own checkpoints only.
    """

    def __init__(self, store: Store, job: str) -> None:
        self._store = store
        self._folder = f"checkpoints/{job}"

    def save(self, epoch: int, payload: bytes) -> None:
        """Write the checkpoint of an epoch, then drop all but the two latest."""
        digest = hashlib.sha256(payload).hexdigest()
        self._store.write(f"{self._folder}/epoch-{epoch:05d}-{digest}.safetensors", payload)
        for name in self._store.list(self._folder)[:-2]:
            self._store.remove(name)

    def load(self) -> bytes | None:
        """Read the latest checkpoint whose content fits its name; None where there is none."""
        for name in reversed(self._store.list(self._folder)):
            payload = self._store.read(name)
            if payload is not None and hashlib.sha256(payload).hexdigest() in name:
                return payload
        return None

    def clear(self) -> None:
        """Remove the job's checkpoints, once its result is stored."""
        self._store.remove(self._folder)
