import numpy as np
import pytest

from models.errors import InputError
from models.vector_index.shards import count, sample


def shard(size, start=0, dimension=3):
    ids = np.arange(start, start + size)
    return np.repeat(ids[:, None], dimension, axis=1).astype(np.float32), ids, np.zeros_like(ids)


def test_vectors_are_counted():
    assert count([shard(4), shard(0), shard(5, 4)]) == (9, 3)


@pytest.mark.parametrize(
    ("shards", "sentence"),
    [
        ([], "no vectors"),
        ([shard(0)], "no vectors"),
        (iter([shard(4)]), "iterator"),
        ([shard(4), shard(4, 4, dimension=2)], r"shape \(4, 2\)"),
        ([(np.ones(3), np.arange(3), np.arange(3))], r"shape \(3,\)"),
        ([(np.ones((3, 2)), np.arange(2), np.arange(3))], r"3 vectors and ids of shape \(2,\)"),
        ([(np.ones((3, 2)), np.arange(3), np.arange(4))], r"3 vectors and labels of shape \(4,\)"),
    ],
)
def test_what_are_no_shards_is_refused(shards, sentence):
    with pytest.raises(InputError, match=sentence):
        count(shards)


def test_a_draw_is_even_without_replacement_and_keeps_vectors_and_ids_together():
    shards = [shard(30), shard(0), shard(50, 30), shard(20, 80)]
    times = np.zeros(100)
    for seed in range(400):
        vectors, ids = sample(shards, 100, 25, seed)
        assert len(set(ids.tolist())) == 25
        assert vectors[:, 0].tolist() == ids.tolist()
        times[ids] += 1
    # Each of 100 is drawn 100 times of 400 on average, with standard deviation 8.7.
    assert times.min() > 60
    assert times.max() < 140


def test_a_draw_repeats_with_its_seed_and_takes_all_where_there_are_fewer():
    shards = [shard(30), shard(50, 30)]
    assert sample(shards, 80, 9, 1)[1].tolist() == sample(shards, 80, 9, 1)[1].tolist()
    assert sample(shards, 80, 9, 1)[1].tolist() != sample(shards, 80, 9, 2)[1].tolist()
    assert sample(shards, 80, 1000, 0)[1].tolist() == list(range(80))
