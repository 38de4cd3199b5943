import numpy as np
import pytest

from tasks.retrieval.drift import LabelledVectors, drift_markdown, drift_metrics, measure_drift

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
