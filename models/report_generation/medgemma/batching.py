"""Work through items in batches as large as the memory allows, and set aside the ones that fail.

Nothing here knows what an item is or what is done with it.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MESSAGE_CHARACTERS = 500


@dataclass(frozen=True)
class Batch(Generic[Item, Result]):
    """What came of one batch.

    Attributes:
        limit: items in the largest batch that was tried at the time.
        done: its items, each with its result.
        failed: the items that fail even alone, each with its error in one line.
    """

    limit: int
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
    limit: int,
    *,
    is_out_of_memory: Callable[[Exception], bool],
    is_fatal: Callable[[Exception], bool],
    free_memory: Callable[[], None],
    done: Callable[[Item], int | None] = lambda _: None,
) -> Iterator[Batch[Item, Result]]:
    """Process items in order, in blocks no larger than the limit is at the time.

    A block that fails is cut in two, and each part is tried by itself, until the items that fail alone are found. Where
    it ran out of memory, that is the limit from then on; after any other error later blocks are as large as before.

    A run that was killed goes on with the blocks in which it would have gone on, since all it did can be told from what
    is done: that is the beginning of the items, a block that is done in part was cut, and the limit fell to the least
    that was noted. Where other items are done than such a beginning, each block is what is missing of it.

    Args:
        items: what to process, those that are done included.
        process: does a batch and returns one result an item, in order.
        limit: items in the first block.
        is_out_of_memory: tells the errors that a smaller batch may cure.
        is_fatal: tells the errors, of the rest, after which nothing else can be tried; they are raised.
        free_memory: called after running out of memory, when the error no longer holds on to what was allocated.
        done: tells the `Batch.limit` of an item that is done, 0 if it was not noted, and None of an item that is not.

    Yields:
        Each batch as soon as it is done and before the next one is begun; every item that is not done exactly once.

    Raises:
        ValueError: the limit is below 1, or the results are not as many as the items.
    """
    if limit < 1:
        raise ValueError(f"a batch holds at least one item, not {limit}")
    noted = [done(item) for item in items]
    beginning = next((place for place, its in enumerate(noted) if its is None), len(items))
    resumed = all(its is None for its in noted[beginning:])
    position = 0
    cut: list[tuple[int, int]] = []  # parts of the block at hand, the next one last
    while cut or position < len(items):
        if not cut:
            cut.append((position, min(position + limit, len(items))))
            position = cut[0][1]
        start, end = cut.pop()
        if resumed and (its := noted[start]):
            limit = min(limit, its)
        missing = [place for place in range(start, end) if noted[place] is None]
        begun = resumed and 0 < len(missing) < end - start
        if end - start > limit or begun:
            cut += _halves(start, end)
            continue
        if not missing:
            continue
        batch = [items[place] for place in missing]
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
        if results is not None:
            yield Batch(limit, done=tuple(zip(batch, results, strict=True)))
        elif len(batch) == 1:
            yield Batch(limit, failed=((batch[0], problem),))
        else:
            cut += _halves(start, end)
            if out_of_memory:
                limit = cut[-1][1] - start


def _halves(start: int, end: int) -> list[tuple[int, int]]:
    """Cut a range at the largest power of two that it exceeds, so that parts of short blocks lie as those of others."""
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    return [(middle, end), (start, middle)]


def in_one_line(error: Exception) -> str:
    """Write an error's type and message, without line breaks and at most 500 characters long."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}"[:_MESSAGE_CHARACTERS]
