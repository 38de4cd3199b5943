import numpy as np
import pytest

from tasks.retrieval.analyses.failures import FailureCount, count_failures, failed_queries, worst_queries
from tasks.retrieval.metrics.ranking import RankingResult


@pytest.fixture
def result():
    precision = np.array([0.4, 0.0, 0.2, 0.0, 1.0, 0.4, 0.4, 0.0])
    return RankingResult(
        query_ids=np.array([17, 16, 15, 14, 13, 12, 11, 10]),
        query_labels=np.array([0, 0, 0, 1, 1, 1, 1, 1]),
        values={
            "precision_at_5": precision,
            "hit_at_5": (precision > 0).astype(float),
            "average_precision": np.array([0.5, 0.2, 0.9, 0.1, 1.0, 0.5, 0.4, 0.2]),
        },
    )


def test_worst_queries_are_ordered_by_hit_precision_average_precision_and_id(result):
    # Misses by average precision, its tie (16 and 10) by id; then precision .2; then .4 by average precision and id.
    assert worst_queries(result, 8, k=5).tolist() == [14, 10, 16, 15, 11, 12, 17, 13]


def test_as_many_as_asked_and_no_more_than_there_are(result):
    assert worst_queries(result, 3, k=5).tolist() == [14, 10, 16]
    assert len(worst_queries(result, 100, k=5)) == 8


def test_the_worst_of_a_class_keep_their_order(result):
    assert worst_queries(result, 2, k=5, label=0).tolist() == [16, 15]
    assert worst_queries(result, 9, k=5, label=1).tolist() == [14, 10, 11, 12, 13]


def test_a_query_fails_with_fewer_than_half_of_its_class(result):
    result.values["precision_at_2"] = np.array([0.5, 0.0, 0.5, 0.0, 1.0, 0.5, 0.5, 0.0])
    assert failed_queries(result, k=5).tolist() == [True, True, True, True, False, True, True, True]
    assert failed_queries(result, k=2).tolist() == [False, True, False, True, False, False, False, True]


def test_failures_are_counted_by_class(result):
    assert count_failures(result, ("normal", "pneumonia"), k=5) == (
        FailureCount("normal", queries=3, misses=1, minorities=3),
        FailureCount("pneumonia", queries=5, misses=2, minorities=4),
    )
