"""Work through items in batches as large as the memory allows, and set aside the ones that fail.

Nothing here knows what an item is or what is done with it.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MESSAGE_CHARACTERS = 500


class BatchCeiling:
    """The largest batch that is tried; it only ever falls."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a batch holds at least one item, not {size}")
        self._size = size
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Items in the largest batch."""
        return self._size

    def lower(self, size: int) -> None:
        """Let no batch be larger than this, unless a smaller ceiling, or one item, is reached already."""
        with self._lock:
            self._size = max(1, min(self._size, size))


@dataclass(frozen=True)
class Batch(Generic[Item, Result]):
    """What came of one batch.

    Attributes:
        done: its items, each with its result.
        failed: the items that fail even alone, each with its error in one line.
    """

    done: tuple[tuple[Item, Result], ...] = ()
    failed: tuple[tuple[Item, str], ...] = ()


def buckets(items: Sequence[Item], kind: Callable[[Item], Hashable], length: Callable[[Item], int]) -> list[list[Item]]:
    """Group items that may share a batch.

    Args:
        items: in any order.
        kind: what must be equal in a batch.
        length: what is padded in a batch.

    Returns:
        One list per kind, in the order in which the kinds appear. In each the longest item comes first, so that
        neighbours need little padding and a batch that does not fit shows itself at once.
    """
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    return [sorted(group, key=length, reverse=True) for group in groups.values()]


def run_batches(
    items: Sequence[Item],
    process: Callable[[Sequence[Item]], Sequence[Result]],
    ceiling: BatchCeiling,
    *,
    is_out_of_memory: Callable[[Exception], bool],
    is_fatal: Callable[[Exception], bool],
    free_memory: Callable[[], None],
) -> Iterator[Batch[Item, Result]]:
    """Process items in order, in batches no larger than the ceiling is at the time.

    A batch that runs out of memory is halved, for good, and tried again. After any other error the items of that batch
    are tried one by one, and only those that fail alone are given up.

    Args:
        items: what to process.
        process: does a batch and returns one result an item, in order.
        ceiling: shared with whoever wants to remember what fits.
        is_out_of_memory: tells the errors that a smaller batch may cure.
        is_fatal: tells the errors, of the rest, after which nothing else can be tried; they are raised.
        free_memory: called after running out of memory, when the error no longer holds on to what was allocated.

    Yields:
        Each batch as soon as it is done and before the next one is begun; every item exactly once.
    """
    waiting = list(items)
    one_by_one = 0  # as many of the first items are tried alone
    while waiting:
        size = 1 if one_by_one else ceiling.size
        batch, waiting = waiting[:size], waiting[size:]
        results: Sequence[Result] | None = None
        problem, out_of_memory = "", False
        try:
            results = process(batch)
        except Exception as error:
            out_of_memory = is_out_of_memory(error)
            if not out_of_memory and is_fatal(error):
                raise
            problem = in_one_line(error)
        # From here on the error and, with its traceback, the tensors of its frames are gone.
        if out_of_memory:
            free_memory()
        if results is None and len(batch) > 1:
            waiting = batch + waiting
            if out_of_memory:
                ceiling.lower(len(batch) // 2)
            else:
                one_by_one = len(batch)
            continue
        one_by_one = max(0, one_by_one - 1)
        if results is None:
            yield Batch(failed=((batch[0], problem),))
        else:
            yield Batch(done=tuple(zip(batch, results, strict=True)))


def in_one_line(error: Exception) -> str:
    """Write an error's type and message, without line breaks and at most 500 characters long."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}"[:_MESSAGE_CHARACTERS]
