import numpy as np
import pytest

from tasks.retrieval.metrics.protocols import rank
from tasks.retrieval.vectors import LabelledVectors

NAMES = ("normal", "Pleural effusion", "pneumonia")


def drawn(seed, count):
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % 3)
    return LabelledVectors(generator.normal(size=(count, 6)) + np.eye(6)[labels], labels)


def test_the_metrics_are_those_of_each_protocol_with_the_names_of_the_classes():
    test, train = drawn(0, 45), drawn(1, 60)
    predicted = np.where(np.arange(45) % 5 == 0, (test.labels + 1) % 3, test.labels)
    found = rank(test, train, predicted, [1, 5])
    metrics = found.metrics(NAMES, samples=100, seed=0)
    for prefix, protocol in found.ranked.items():
        for label, name in enumerate(("normal", "pleural_effusion", "pneumonia")):
            assert metrics[f"{prefix}/map_{name}"] == protocol.result.mean("average_precision", label)
        assert metrics[f"{prefix}/precision_at_5_ci_low"] < metrics[f"{prefix}/precision_at_5_ci_high"]
        np.testing.assert_array_equal(found.per_query()[f"{prefix}_hit_at_5"], protocol.result.values["hit_at_5"])
    assert metrics["chance/loo/precision_at_1"] == pytest.approx(14 / 44)
    assert metrics["chance/gallery/precision_at_5"] == pytest.approx(1 / 3)
    assert (
        metrics["conditioned/precision_at_5"] == metrics["conditioned/hit_at_5"] == pytest.approx(0.8)
    )  # the accuracy
    upper = {name: value for name, value in metrics.items() if name.startswith("conditioned_true_class/")}
    assert upper == {"conditioned_true_class/precision_at_1": 1, "conditioned_true_class/precision_at_5": 1}
    assert not [name for name in metrics if name.startswith("chance/conditioned")]


def test_an_image_of_train_is_found_whatever_its_place_is_among_those_of_test():
    test = drawn(0, 45)
    found = rank(test, test, test.labels, [1]).metrics(NAMES, samples=50, seed=0)
    assert found["gallery/precision_at_1"] == 1 > found["loo/precision_at_1"]  # each finds its own copy


def test_classes_that_are_grades_add_their_metrics_but_where_all_hits_have_one_grade():
    test, train = drawn(0, 45), drawn(1, 60)
    plain = rank(test, train, test.labels, [1, 5]).metrics(NAMES, samples=50, seed=0)
    found = rank(test, train, test.labels, [1, 5], grades=3).metrics(NAMES, samples=50, seed=0)
    added = {name for name in found if name not in plain and "_ci_" not in name}
    means = {f"{prefix}/ndcg_at_{k}" for prefix in ("loo", "gallery", "chance/loo", "chance/gallery") for k in (1, 5)}
    assert added == means
    assert {name: found[name] for name in plain} == plain
    assert found["loo/ndcg_at_5"] > found["chance/loo/ndcg_at_5"]
