import numpy as np
import pytest

from tasks.retrieval.analyses.drift import (
    DEALS,
    drift_markdown,
    drift_metrics,
    drift_threshold,
    measure_drift,
    new_images_markdown,
)
from tasks.retrieval.vectors import LabelledVectors
from tasks.shared.domain_auc import domain_auc

NAMES = ("normal", "pneumonia")


def _split(seed, size=120, *, moved=0.0):
    """Embeddings of two classes, those of class 0 moved."""
    random = np.random.default_rng(seed)
    labels = np.arange(size) % 2
    vectors = random.normal(0, 1, (size, 32))
    vectors[labels == 0] += moved
    return LabelledVectors(vectors, labels)


def test_a_drift_of_one_class_is_found_in_that_class():
    normal, pneumonia = measure_drift(_split(0), _split(1, moved=0.5), _split(2), NAMES)
    assert normal.domain_auc.low > 0.8
    assert 0.3 < normal.reference_auc.value < 0.7
    assert 0.3 < pneumonia.domain_auc.value < 0.7
    text = drift_markdown([normal, pneumonia])
    assert f"| normal | {normal.domain_auc.value:.3f} (" in text


def test_what_the_encoder_was_fitted_to_shows_in_the_reference():
    normal, _ = measure_drift(_split(0, moved=0.5), _split(1), _split(2), NAMES)
    assert normal.reference_auc.value > 0.8


def test_the_same_data_give_the_same_figures():
    splits = _split(0, 5000), _split(1), _split(2)  # more than are compared
    assert measure_drift(*splits, NAMES) == measure_drift(*splits, NAMES)


def test_metrics_are_named_by_class_and_left_out_where_unknown():
    metrics = drift_metrics(measure_drift(_split(0), _split(1), _split(2), (*NAMES, "Never seen")))
    assert metrics.keys() == {f"drift/{kind}_{name}" for kind in ("domain_auc", "reference_auc") for name in NAMES}


@pytest.mark.parametrize("count", [0, 4])
def test_a_class_with_few_images_is_unknown(count):
    few = LabelledVectors(np.ones((count, 32)), np.zeros(count, int))
    (normal,) = measure_drift(_split(0), few, _split(2), NAMES[:1])
    assert np.isnan(normal.domain_auc.value)
    assert "| normal | – | 0." in drift_markdown([normal])


def test_the_threshold_is_the_largest_of_all_deals_as_in_a_naive_loop():
    random = np.random.default_rng(0)
    held, new, alike = random.normal(0, 1, (40, 6)), random.normal(0.2, 1, (12, 6)), random.normal(0, 1, (20, 6))
    largest, dealer = 0.0, np.random.default_rng(7)
    for _ in range(DEALS):
        dealt = dealer.choice(32, 12, replace=False)
        taken_as_new = np.array([new[place] if place < 12 else alike[place - 12] for place in dealt])
        largest = max(largest, domain_auc(held, taken_as_new, seed=7).value)
    assert drift_threshold(held, new, alike, seed=7) == largest


def _drifts(new, alike, seed, moved=0.0):
    """Whether images of one class pass, where the encoder was fitted to the indexed ones and sets them apart."""
    random = np.random.default_rng(seed)
    held = random.normal(0.4, 1, (60, 6))
    new, alike = random.normal(moved, 1, (new, 6)), random.normal(0, 1, (alike, 6))
    labelled = [LabelledVectors(each, np.zeros(len(each), int)) for each in (held, new, alike)]
    (drift,) = measure_drift(*labelled, NAMES[:1], calibrated=True)
    assert drift.reference_auc.value > 0.5
    return drift.domain_auc.value > drift.threshold


def test_images_as_before_seldom_pass_though_the_fit_sets_the_index_apart():
    """Each time with a chance of 1 in 40: three or more of twelve would come by it once in 300 times."""
    assert sum(_drifts(20, 30, seed) for seed in range(12)) <= 2


@pytest.mark.parametrize(("new", "alike"), [(20, 30), (60, 20)])
def test_images_that_moved_pass(new, alike):
    assert all(_drifts(new, alike, seed, moved=-1.0) for seed in range(2))


def test_a_threshold_is_measured_only_when_asked_for_and_unknown_with_few_images():
    splits = _split(0, 40), _split(1, 24), _split(2, 40)
    plain, found = measure_drift(*splits, NAMES), measure_drift(*splits, NAMES, calibrated=True)
    assert [drift.threshold for drift in plain] == [None, None]
    metrics = drift_metrics(found, "drift/new_")
    assert metrics.keys() == {
        f"drift/new_{kind}_{name}" for kind in ("domain_auc", "reference_auc", "threshold") for name in NAMES
    }
    text = new_images_markdown(found, 24)
    assert text.startswith("24 test images are new to the index")
    assert f"| {metrics['drift/new_threshold_normal']:.3f} |" in text
    few = measure_drift(_split(0, 40), _split(1, 8), _split(2, 40), NAMES, calibrated=True)
    assert drift_metrics(few, "drift/new_").keys() == {f"drift/new_reference_auc_{name}" for name in NAMES}
    assert "| normal | – | – | 0." in new_images_markdown(few, 8)
