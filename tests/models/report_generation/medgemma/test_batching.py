import gc
import random
import weakref
from collections.abc import Callable, Sequence

import pytest

from models.report_generation.medgemma.batching import BatchCeiling, buckets, in_one_line, run_batches


class FatalError(Exception):
    pass


def run(items: Sequence, process: Callable, ceiling: BatchCeiling, free_memory: Callable[[], None] = lambda: None):
    return run_batches(
        items,
        process,
        ceiling,
        is_out_of_memory=lambda error: isinstance(error, MemoryError),
        is_fatal=lambda error: isinstance(error, FatalError),
        free_memory=free_memory,
    )


def test_a_ceiling_only_falls_and_stays_above_zero():
    ceiling = BatchCeiling(8)
    ceiling.lower(12)
    assert ceiling.size == 8
    ceiling.lower(3)
    ceiling.lower(5)
    assert ceiling.size == 3
    ceiling.lower(0)
    assert ceiling.size == 1
    with pytest.raises(ValueError, match="at least one item, not 0"):
        BatchCeiling(0)


def test_buckets_hold_one_kind_each_with_the_longest_item_first():
    items = ["b22", "a1", "b1", "a333", "a22", "b333"]
    assert buckets(items, kind=lambda item: item[0], length=len) == [["b333", "b22", "b1"], ["a333", "a22", "a1"]]


def test_batches_keep_the_order_and_the_size():
    batches = list(run(range(7), lambda batch: [-item for item in batch], BatchCeiling(3)))
    assert [batch.done for batch in batches] == [((0, 0), (1, -1), (2, -2)), ((3, -3), (4, -4), (5, -5)), ((6, -6),)]
    assert not any(batch.failed for batch in batches)


def test_a_batch_is_handed_over_before_the_next_one_begins():
    begun = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        begun.append(tuple(batch))
        return batch

    batches = run(range(4), process, BatchCeiling(2))
    assert begun == []
    next(batches)
    assert begun == [(0, 1)]
    next(batches)
    assert begun == [(0, 1), (2, 3)]


def test_what_fits_is_found_by_halving_and_remembered():
    tried = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        tried.append(len(batch))
        if len(batch) > 5:
            raise MemoryError
        return batch

    ceiling = BatchCeiling(64)
    assert [len(batch.done) for batch in run(range(10), process, ceiling)] == [5, 5]
    assert tried == [10, 5, 5]
    tried.clear()
    assert [len(batch.done) for batch in run(range(7), process, ceiling)] == [5, 2]
    assert tried == [5, 2]


def test_an_item_too_large_alone_fails_alone():
    def process(batch: Sequence[int]) -> Sequence[int]:
        if 2 in batch:
            raise MemoryError("no room\nfor it")
        return batch

    batches = list(run(range(4), process, BatchCeiling(4)))
    assert [item for batch in batches for item, _ in batch.done] == [0, 1, 3]
    assert [batch.failed for batch in batches if batch.failed] == [((2, "MemoryError: no room for it"),)]


def test_an_error_sends_the_items_of_its_batch_alone_and_no_others():
    tried = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        tried.append(tuple(batch))
        if 4 in batch:
            raise KeyError("poison")
        return batch

    ceiling = BatchCeiling(3)
    batches = list(run(range(9), process, ceiling))
    assert tried == [(0, 1, 2), (3, 4, 5), (3,), (4,), (5,), (6, 7, 8)]
    assert [batch.failed for batch in batches if batch.failed] == [((4, "KeyError: 'poison'"),)]
    assert ceiling.size == 3


@pytest.mark.parametrize("error", [FatalError(), KeyboardInterrupt(), SystemExit()])
def test_after_a_fatal_error_nothing_else_is_tried(error: BaseException):
    tried = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        tried.append(tuple(batch))
        if 2 in batch:
            raise error
        return batch

    batches = run(range(6), process, BatchCeiling(2))
    next(batches)
    with pytest.raises(type(error)):
        next(batches)
    assert tried == [(0, 1), (2, 3)]


def test_memory_is_freed_when_the_error_no_longer_holds_on_to_it():
    class Tensor:
        pass

    allocated = []
    alive_when_freeing = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        tensor = Tensor()  # held by this frame, as the frame is by the traceback
        allocated.append(weakref.ref(tensor))
        if len(batch) > 1:
            raise MemoryError
        return batch

    gc.disable()
    try:
        list(run(range(2), process, BatchCeiling(2), lambda: alive_when_freeing.append(allocated[-1]() is not None)))
    finally:
        gc.enable()
    assert alive_when_freeing == [False]


@pytest.mark.parametrize("results", [[], [1, 2, 3]])
def test_a_wrong_number_of_results_is_no_fault_of_the_items(results: list[int]):
    with pytest.raises(ValueError, match="zip"):
        list(run([0, 1], lambda batch: results, BatchCeiling(2)))


@pytest.mark.parametrize("seed", range(40))
def test_every_item_comes_out_once(seed: int):
    """Items of random size and poison, against what each one does alone; the memory shrinks while they run."""
    chance = random.Random(seed)
    sizes = [chance.choice([1, 1, 2, 3, 9]) for _ in range(chance.randrange(40))]
    poison = {item for item in range(len(sizes)) if chance.random() < 0.1}
    memory = chance.randrange(1, 30)
    tried = 0

    def process(batch: Sequence[int]) -> Sequence[int]:
        nonlocal tried
        tried += 1
        if sum(sizes[item] for item in batch) > memory:
            raise MemoryError
        if poison & set(batch):
            raise ValueError
        return [item * item for item in batch]

    ceiling = BatchCeiling(chance.choice([1, 4, 64]))
    batches = list(run(range(len(sizes)), process, ceiling))
    done = dict(pair for batch in batches for pair in batch.done)
    failed = [item for batch in batches for item, _ in batch.failed]
    alone = {item for item, size in enumerate(sizes) if size > memory}
    assert sorted([*done, *failed]) == list(range(len(sizes)))
    assert set(failed) == poison | alone
    assert all(result == item * item for item, result in done.items())
    assert tried <= 3 * len(sizes) + 8  # at most: alone, once in a batch before, and the halvings


def test_an_error_is_one_line_of_bounded_length():
    assert in_one_line(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert len(in_one_line(ValueError("x" * 10_000))) == 500
