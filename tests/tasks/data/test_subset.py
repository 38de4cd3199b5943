import numpy as np
import pytest

from models.errors import InputError
from tasks.data.phantoms import draw_phantoms
from tasks.data.subset import take_first
from tasks.data.validation import Splits


@pytest.mark.parametrize("limit", [32, 100])
def test_each_class_keeps_its_share_and_its_first_images(limit):
    splits = draw_phantoms(28, 0)
    smaller = take_first(splits, limit)
    for split in ("train", "val", "test"):
        labels, kept = splits.labels(split), smaller.labels(split)
        if limit >= len(labels):
            np.testing.assert_array_equal(kept, labels)
            continue
        assert limit - 1 <= len(kept) <= limit
        assert kept.mean() == pytest.approx(labels.mean(), abs=1 / limit)
        expected = [
            index for index, label in enumerate(labels) if (labels[:index] == label).sum() < (kept == label).sum()
        ]
        np.testing.assert_array_equal(smaller.images(split), splits.images(split)[expected])
        np.testing.assert_array_equal(kept, labels[expected])


def unequal(rare: int) -> Splits:
    """Nine colour classes, the last of `rare` among 200 training images."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(9), [*[24] * 7, 32 - rare, rare]))
    images = np.arange(200, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    return Splits(images, images[:9], images[:9], labels, np.arange(9), np.arange(9))


def test_many_classes_keep_their_shares():
    smaller = take_first(unequal(rare=8), 50)
    assert smaller.train_images.shape == (50, 2, 2, 3)
    np.testing.assert_array_equal(np.bincount(smaller.train_labels), [6] * 8 + [2])
    np.testing.assert_array_equal(smaller.val_labels, np.arange(9))  # smaller than the limit, so whole


def test_limit_that_would_lose_a_class_is_refused_with_the_least_that_does_not():
    splits = unequal(rare=3)
    with pytest.raises(InputError, match=r"--dataset\.limit 66 leaves no .* class in train: expected at least 67"):
        take_first(splits, 66)
    assert np.bincount(take_first(splits, 67).train_labels)[8] == 1
