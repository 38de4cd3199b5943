import numpy as np
import pytest

from tasks.data.phantoms import draw_phantoms
from tasks.data.subset import take_first


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
