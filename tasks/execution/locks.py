"""Locks between processes, which the operating system frees when their holder dies."""

import threading

from filelock import FileLock, Timeout
from prefect.locking.protocol import LockManager

from tasks.storage.locations import locks


class ProcessLocks(LockManager):
    """Locks between runs on one machine, or on a mount that supports `flock`.

    The operating system frees them when their process ends, however it ends, so a killed run blocks nobody. Sent to
    another process, they arrive with none held.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, FileLock]] = {}
        self._guard = threading.Lock()

    def __reduce__(self) -> tuple[type["ProcessLocks"], tuple[()]]:
        return ProcessLocks, ()

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Wait for the lock and take it; False where the wait timed out."""
        if self.is_lock_holder(key, holder):
            return True
        lock = self._lock(key)
        try:
            lock.acquire(timeout=-1 if acquire_timeout is None else acquire_timeout)
        except Timeout:
            return False
        with self._guard:
            self._held[key] = (holder, lock)
        return True

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock from asynchronous code."""
        return self.acquire_lock(key, holder, acquire_timeout, hold_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        """Free the lock."""
        with self._guard:
            if key not in self._held or self._held[key][0] != holder:
                raise ValueError(f"{holder} does not hold the lock of {key}.")
            _, lock = self._held.pop(key)
        lock.release()

    def is_locked(self, key: str) -> bool:
        """Tell whether anyone holds the lock."""
        lock = self._lock(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Tell whether this holder holds the lock."""
        return key in self._held and self._held[key][0] == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the lock is free; False where the wait timed out."""
        lock = self._lock(key)
        try:
            lock.acquire(timeout=-1 if timeout is None else timeout)
        except Timeout:
            return False
        lock.release()
        return True

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the lock is free, from asynchronous code."""
        return self.wait_for_lock(key, timeout)

    def _lock(self, key: str) -> FileLock:
        path = locks() / f"{key.replace('/', '-')}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, thread_local=False)  # a transaction may end in another thread than it began
