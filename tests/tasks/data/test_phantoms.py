import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tasks.data.phantoms import COUNTS, draw_phantoms
from tasks.data.validation import ARRAYS, SPLITS


def flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


@pytest.mark.parametrize("size", [28, 64])
def test_shapes_counts_and_shares(size: int):
    splits = draw_phantoms(size, seed=0)
    for name in SPLITS:
        assert splits.images(name).shape == (COUNTS[name], size, size)
        assert splits.images(name).dtype == np.uint8
        assert splits.labels(name).dtype == np.int64
    shares = [splits.labels(name).mean() for name in SPLITS]
    assert shares == pytest.approx([0.742, 0.742, 0.625], abs=0.005)


def test_same_seed_same_images_other_seed_others():
    first, again, other = draw_phantoms(28, seed=4), draw_phantoms(28, seed=4), draw_phantoms(28, seed=5)
    for name in ARRAYS:
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.train_images, other.train_images)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_classes_can_be_learned_but_not_from_brightness(seed: int):
    splits = draw_phantoms(28, seed)
    model = LogisticRegression(C=0.1, max_iter=500, class_weight="balanced")
    model.fit(flatten(splits.train_images), splits.train_labels)
    learned = roc_auc_score(splits.test_labels, model.decision_function(flatten(splits.test_images)))
    assert 0.8 < learned < 0.97
    brightness = roc_auc_score(splits.test_labels, splits.test_images.mean(axis=(1, 2)))
    assert 0.4 < brightness < 0.7
