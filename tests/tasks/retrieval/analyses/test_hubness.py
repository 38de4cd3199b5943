import numpy as np
import pytest
from scipy.stats import skew

from tasks.retrieval.analyses.hubness import (
    biggest_hubs,
    expected_counts,
    hubness_markdown,
    hubness_metrics,
    measure_hubness,
)


def leave_one_out(neighbours, labels, ids=None):
    ids = np.arange(len(labels)) if ids is None else ids
    return measure_hubness(ids[neighbours], ids, labels, ids, labels)


def random_neighbours(items, k, seed):
    """Draw k distinct others for every item."""
    generator = np.random.default_rng(seed)
    found = np.array([generator.permutation(items - 1)[:k] for _ in range(items)])
    return found + (found >= np.arange(items)[:, None])


def test_occurrences_are_counted_by_hand():
    labels = np.array([0, 0, 1, 1])
    found = leave_one_out(np.array([[1, 2], [0, 2], [1, 0], [2, 1]]), labels, ids=np.array([70, 20, 90, 10]))
    assert found.occurrences.tolist() == [2, 3, 3, 0]
    # 70 is found by 20 (own class) and 90 (the other); 20 by 70, 90, 10; 90 by 70, 20, 10; 10 by none.
    assert found.bad_occurrences.tolist() == [1, 2, 2, 0]
    assert found.antihubs.tolist() == [False, False, False, True]
    assert found.available == 3
    assert found.bad_share_by_chance == pytest.approx(2 / 3)  # each query has one of its class and two of the other
    metrics = hubness_metrics(found)
    assert metrics["hubness/bad_share"] == pytest.approx(5 / 8)
    assert metrics["hubness/antihub_share"] == 1 / 4
    assert metrics["hubness/largest"] == 3
    # Third standardised moment of 2, 3, 3, 0 about 2.
    assert metrics["hubness/skewness"] == pytest.approx((1 + 1 - 8) / 4 / (6 / 4) ** 1.5)


def test_queries_of_another_split_are_counted_in_the_gallery():
    found = measure_hubness(
        np.array([[8, 5], [8, 7]]), np.array([100, 101]), np.array([1, 0]), np.array([5, 7, 8]), np.array([1, 0, 1])
    )
    assert found.occurrences.tolist() == [1, 1, 2]
    assert found.bad_occurrences.tolist() == [0, 0, 1]
    assert found.available == 3
    assert found.bad_share_by_chance == pytest.approx((1 / 3 + 2 / 3) / 2)


def test_hubs_lie_two_standard_deviations_above_the_mean():
    # 0 is found by all others; the others find each other in a ring.
    items = 12
    neighbours = np.array([[1, 2]] + [[0, item % (items - 1) + 1] for item in range(1, items)])
    found = leave_one_out(neighbours, np.zeros(items, dtype=int))
    counts = [11, 2, 2, *[1] * 9]
    assert found.occurrences.tolist() == counts
    assert found.hub_level == pytest.approx(np.mean(counts) + 2 * np.std(counts))
    assert biggest_hubs(found, 8).tolist() == [0]
    metrics = hubness_metrics(found)
    assert metrics["hubness/hub_share"] == pytest.approx(1 / 12)
    assert metrics["hubness/hub_occurrence"] == pytest.approx(11 / 24)
    text = hubness_markdown(found, ("normal", "pneumonia"))
    assert "| #0 | normal | 11 | 0 |" in text
    assert "by 2.0 queries on average" in text


def test_random_neighbours_score_what_is_expected_of_them():
    items, k, draws = 120, 10, 60
    labels = np.repeat([0, 1], [40, 80])
    drawn = [leave_one_out(random_neighbours(items, k, seed), labels) for seed in range(draws)]
    metrics = [hubness_metrics(found) for found in drawn]
    expected = metrics[0]
    for name, tolerance in (("skewness", 0.1), ("bad_share", 0.01), ("hub_share", 0.01)):
        measured = np.mean([each[f"hubness/{name}"] for each in metrics])
        assert measured == pytest.approx(expected[f"hubness/{name}_by_chance"], abs=tolerance)
    counts = np.mean([np.bincount(found.occurrences, minlength=40)[:40] for found in drawn], axis=0)
    np.testing.assert_allclose(counts, expected_counts(drawn[0], 39), atol=1.5)
    assert expected_counts(drawn[0], 119).sum() == pytest.approx(items)


def test_many_dimensions_make_hubs():
    def skewness(dimensions):
        points = np.random.default_rng(0).normal(size=(300, dimensions))
        distances = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(300, np.inf))
        found = leave_one_out(distances.argsort(axis=1)[:, :10], np.zeros(300, dtype=int))
        metrics = hubness_metrics(found)
        assert metrics["hubness/skewness"] == pytest.approx(skew(found.occurrences))
        return metrics["hubness/skewness"]

    assert skewness(2) < 0.7 < 2 < skewness(100)


def test_equal_occurrences_have_no_skewness_and_no_hubs():
    found = leave_one_out(np.array([[1], [2], [0]]), np.array([0, 1, 1]))
    metrics = hubness_metrics(found)
    assert "hubness/skewness" not in metrics
    assert metrics["hubness/hub_share"] == metrics["hubness/hub_occurrence"] == 0
    assert np.isfinite(list(metrics.values())).all()
    assert "no hub" in hubness_markdown(found, ("normal", "pneumonia"))


def test_self_and_strangers_are_refused():
    with pytest.raises(ValueError, match="its own neighbour"):
        leave_one_out(np.array([[0], [0]]), np.array([0, 1]))
    with pytest.raises(ValueError, match="not in the gallery"):
        measure_hubness(np.array([[3]]), np.array([0]), np.array([0]), np.array([1, 2]), np.array([0, 1]))
