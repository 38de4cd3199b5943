import gc
import random
import weakref
from collections.abc import Callable, Mapping, Sequence

import pytest

from models.report_generation.medgemma.batching import buckets, in_one_line, run_batches


class FatalError(Exception):
    pass


def run(
    items: Sequence,
    process: Callable,
    limit: int,
    free_memory: Callable[[], None] = lambda: None,
    done: Mapping[int, int] | None = None,
):
    return run_batches(
        items,
        process,
        limit,
        is_out_of_memory=lambda error: isinstance(error, MemoryError),
        is_fatal=lambda error: isinstance(error, FatalError),
        free_memory=free_memory,
        done=(done or {}).get,
    )


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="at least one item, not 0"):
        list(run([1], list, 0))


def test_buckets_hold_one_kind_each_with_the_longest_item_first():
    items = ["b22", "a1", "b1", "a333", "a22", "b333"]
    assert buckets(items, kind=lambda item: item[0], length=len) == [["b333", "b22", "b1"], ["a333", "a22", "a1"]]


def test_batches_keep_the_order_and_the_size():
    batches = list(run(range(7), lambda batch: [-item for item in batch], 3))
    assert [batch.done for batch in batches] == [((0, 0), (1, -1), (2, -2)), ((3, -3), (4, -4), (5, -5)), ((6, -6),)]
    assert not any(batch.failed for batch in batches)


def test_a_batch_is_handed_over_before_the_next_one_begins():
    begun = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        begun.append(tuple(batch))
        return batch

    batches = run(range(4), process, 2)
    assert begun == []
    next(batches)
    assert begun == [(0, 1)]
    next(batches)
    assert begun == [(0, 1), (2, 3)]


def test_what_fits_is_found_by_halving_and_kept_to():
    tried = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        tried.append(len(batch))
        if len(batch) > 5:
            raise MemoryError
        return batch

    batches = list(run(range(32), process, 16))
    assert [len(batch.done) for batch in batches] == [4] * 8
    assert tried == [16, 8] + [4] * 8
    assert {batch.limit for batch in batches} == {4}
    tried.clear()
    assert [len(batch.done) for batch in run(range(10), process, 64)] == [4, 4, 2]
    assert tried == [10, 8, 4, 4, 2]


def test_an_item_too_large_alone_fails_alone():
    def process(batch: Sequence[int]) -> Sequence[int]:
        if 2 in batch:
            raise MemoryError("no room\nfor it")
        return batch

    batches = list(run(range(4), process, 4))
    assert [item for batch in batches for item, _ in batch.done] == [0, 1, 3]
    assert [batch.failed for batch in batches if batch.failed] == [((2, "MemoryError: no room for it"),)]


def test_a_batch_with_an_error_is_cut_in_two_and_no_other_is():
    tried = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        tried.append(tuple(batch))
        if 4 in batch:
            raise KeyError("poison")
        return batch

    batches = list(run(range(9), process, 3))
    assert tried == [(0, 1, 2), (3, 4, 5), (3, 4), (3,), (4,), (5,), (6, 7, 8)]
    assert [batch.failed for batch in batches if batch.failed] == [((4, "KeyError: 'poison'"),)]
    assert {batch.limit for batch in batches} == {3}


@pytest.mark.parametrize("bad", range(64))
def test_one_bad_item_of_64_is_found_in_seven_calls_that_fail(bad: int):
    failing = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        if bad in batch:
            failing.append(len(batch))
            raise KeyError("poison")
        return batch

    batches = list(run(range(64), process, 64))
    assert failing == [64, 32, 16, 8, 4, 2, 1]
    assert [item for batch in batches for item, _ in batch.failed] == [bad]
    assert sum(len(batch.done) for batch in batches) == 63
    assert len(batches) == 7


@pytest.mark.parametrize("error", [FatalError(), KeyboardInterrupt(), SystemExit()])
def test_after_a_fatal_error_nothing_else_is_tried(error: BaseException):
    tried = []

    def process(batch: Sequence[int]) -> Sequence[int]:
        tried.append(tuple(batch))
        if 2 in batch:
            raise error
        return batch

    batches = run(range(6), process, 2)
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
        list(run(range(2), process, 2, lambda: alive_when_freeing.append(allocated[-1]() is not None)))
    finally:
        gc.enable()
    assert alive_when_freeing == [False]


@pytest.mark.parametrize("results", [[], [1, 2, 3]])
def test_a_wrong_number_of_results_is_no_fault_of_the_items(results: list[int]):
    with pytest.raises(ValueError, match="zip"):
        list(run([0, 1], lambda batch: results, 2))


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

    batches = list(run(range(len(sizes)), process, chance.choice([1, 4, 48, 64])))
    done = dict(pair for batch in batches for pair in batch.done)
    failed = [item for batch in batches for item, _ in batch.failed]
    alone = {item for item, size in enumerate(sizes) if size > memory}
    assert sorted([*done, *failed]) == list(range(len(sizes)))
    assert set(failed) == poison | alone
    assert all(result == item * item for item, result in done.items())
    assert tried <= 2 * len(sizes) + 8  # at most: all leaves and nodes of a binary tree, and the halvings


@pytest.mark.parametrize("seed", range(60))
def test_a_run_that_was_killed_makes_the_batches_of_an_undisturbed_one(seed: int):
    """Killed after each of its batches in turn, with items that fail and a memory that runs out now and then."""
    chance = random.Random(seed)
    count, limit = chance.randrange(1, 200), chance.choice([1, 16, 48, 64])
    poison = {item for item in range(count) if chance.random() < 0.02}
    too_much = {chance.randrange(count) for _ in range(chance.choice([0, 1, 2]))}  # for 16 beside them

    def process(batch: Sequence[int]) -> Sequence[int]:
        if len(batch) > 16 and too_much & set(batch):
            raise MemoryError
        if poison & set(batch):
            raise ValueError
        return batch

    def sets(batches):
        return [[item for item, _ in (*batch.done, *batch.failed)] for batch in batches]

    undisturbed = list(run(range(count), process, limit))
    expected = sets(undisturbed)
    for killed in range(len(undisturbed) + 1):
        done = {item: batch.limit for batch in undisturbed[:killed] for item, _ in (*batch.done, *batch.failed)}
        assert sets(run(range(count), process, limit, done=done)) == expected[killed:]


def test_a_resumed_run_keeps_to_the_limit_of_the_first_though_it_finds_more_memory():
    batches = list(run(range(40), list, 16, done=dict.fromkeys(range(8), 8)))
    assert [len(batch.done) for batch in batches] == [8, 8, 8, 8]


def test_items_done_here_and_there_are_left_out_of_their_batches():
    done = {1: 2, 2: 2, 9: 64}
    batches = list(run(range(12), list, 4, done=done))
    assert [[item for item, _ in batch.done] for batch in batches] == [[0, 3], [4, 5, 6, 7], [8, 10, 11]]


def test_items_done_without_a_note_change_no_limit():
    batches = list(run(range(12), list, 4, done=dict.fromkeys(range(4), 0)))
    assert [[item for item, _ in batch.done] for batch in batches] == [[4, 5, 6, 7], [8, 9, 10, 11]]


def test_an_error_is_one_line_of_bounded_length():
    assert in_one_line(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert len(in_one_line(ValueError("x" * 10_000))) == 500
