import numpy as np
import pytest

from models.errors import InputError
from tasks.classification.trust.label_audit import (
    NearDuplicate,
    audit_labels,
    doubtful_labels,
    duplicate_groups,
    duplicate_pairs,
    folds,
    label_audit_markdown,
    label_issues,
    near_duplicates,
)


def images(count):
    return np.random.default_rng(0).integers(0, 200, (count, 8, 8), dtype=np.uint8)


def test_turned_labels_are_found_and_ranked():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 300)
    probabilities = np.clip(random.normal(np.where(truth == 1, 0.9, 0.1), 0.04), 0.01, 0.99)
    labels = truth.copy()
    turned = [5, 77, 140, 201]
    labels[turned] = 1 - labels[turned]
    # Surer than usual of the other class, some more than others: what confident learning counts.
    probabilities[turned] = np.abs(1 - truth[turned] - np.array([0.96, 0.99, 0.97, 0.98]))
    issues = label_issues(probabilities, labels)
    assert sorted(issue.index for issue in issues) == turned
    assert [issue.quality for issue in issues] == sorted(issue.quality for issue in issues)
    for issue in issues:
        assert (issue.given, issue.suggested) == (labels[issue.index], truth[issue.index])
        given = probabilities[issue.index] if issue.given else 1 - probabilities[issue.index]
        assert issue.quality == pytest.approx(given)


def test_turned_labels_of_several_classes_are_found():
    random = np.random.default_rng(1)
    truth = random.integers(0, 4, 400)
    probabilities = np.full((400, 4), 0.03)
    probabilities[np.arange(400), truth] = 0.91
    labels = truth.copy()
    labels[10], labels[20] = (truth[10] + 1) % 4, (truth[20] + 2) % 4
    found = {issue.index: issue.suggested for issue in label_issues(probabilities, labels)}
    assert found == {10: truth[10], 20: truth[20]}


def test_contradictory_near_duplicates_come_first():
    pixels = images(30)
    pixels[25] = pixels[3]
    pixels[4] = pixels[17] // 2 + 20  # darker and flatter
    contradictory, same = near_duplicates(pixels, np.arange(30) % 2)
    assert same == NearDuplicate(3, 25, 1.0, (1, 1)) and not same.contradictory
    assert (contradictory.first, contradictory.second, contradictory.labels) == (4, 17, (0, 1))
    assert contradictory.contradictory and 0.95 < contradictory.similarity < 1


def test_groups_are_linked_images():
    pairs = [NearDuplicate(*pair, 1.0, (0, 0)) for pair in ((0, 3), (3, 5), (1, 2))]
    groups = duplicate_groups(pairs, 7)
    assert len(set(groups.tolist())) == 4
    assert groups[0] == groups[3] == groups[5] and groups[1] == groups[2] and groups[4] != groups[6]
    assert len(set(duplicate_groups([], 3).tolist())) == 3


def test_folds_keep_groups_together_and_classes_in_balance():
    random = np.random.default_rng(2)
    labels = (random.random(500) < 0.75).astype(np.int64)
    groups = np.arange(500)
    groups[100:200] = np.repeat(np.arange(50), 2)  # pairs, some with an image among the first 100
    fold = folds(labels, groups, 5, seed=3)
    assert set(fold.tolist()) == set(range(5))
    for group in np.unique(groups):
        assert len(set(fold[groups == group].tolist())) == 1
    shares = [labels[fold == number].mean() for number in range(5)]
    assert max(shares) - min(shares) < 0.03
    assert max(np.bincount(fold)) - min(np.bincount(fold)) < 12
    assert (folds(labels, groups, 5, seed=3) == fold).all()
    assert (folds(labels, groups, 5, seed=4) != fold).any()


@pytest.mark.parametrize("count", [1, 4])
def test_more_folds_than_distinct_images_of_a_class_are_refused(count):
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    groups = np.array([0, 1, 2, 3, 4, 4, 5, 6])
    with pytest.raises(InputError, match="smallest class has 3 distinct ones"):
        folds(labels, groups, count, seed=0)


def test_the_report_counts_by_class():
    pixels = images(60)
    pixels[1] = pixels[0]
    labels = np.arange(60) % 2
    probabilities = np.where(labels == 1, 0.95, 0.05)
    probabilities[[4, 9]] = [0.98, 0.01]
    audit = audit_labels(probabilities, labels, pixels, ("normal", "pneumonia"))
    text = label_audit_markdown(audit)
    assert "| normal | 30 | 1 | 3.3% |" in text
    assert "| #9 | pneumonia | normal | 0.010 |" in doubtful_labels(audit)
    assert "1 pairs, 1 of them with different labels" in text
    assert "| #0, #1 | 1.000 | normal and pneumonia |" in duplicate_pairs(audit)
    clean = audit_labels(np.where(labels == 1, 0.95, 0.05), labels, images(60), ("normal", "pneumonia"))
    assert clean.issues == clean.duplicates == ()
    assert "0 pairs" in label_audit_markdown(clean)
