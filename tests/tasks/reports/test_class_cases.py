from collections import Counter

import numpy as np
import pytest

from tasks.reports.cases import choose_cases, group_of
from tasks.reports.class_cases import CLASS_GROUPS, Classified, choose, class_groups, decisions

NAMES = ("a", "b", "c")


def many(size: int = 120, seed: int = 0) -> Classified:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size)
    logits = rng.normal(size=(size, 3)) + 1.5 * np.eye(3)[labels]
    return Classified(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels, None, NAMES)


def two(threshold: float = 0.4, names: tuple[str, str] = ("x", "y")) -> Classified:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 80)
    return Classified(np.clip(0.3 + 0.4 * labels + rng.normal(0, 0.2, 80), 0, 1), labels, threshold, names)


@pytest.mark.parametrize("found", [many(), two()])
def test_groups_follow_the_decision_image_by_image(found):
    for place, group in enumerate(class_groups(found)):
        if found.threshold is None:
            first, second = sorted(found.probabilities[place], reverse=True)[:2]
            margin, called = first - second, list(found.probabilities[place]).index(first)
        else:
            margin = abs(found.probabilities[place] - found.threshold)
            called = int(found.probabilities[place] >= found.threshold)
        if margin < 0.1:
            assert group == "borderline"
        else:
            assert group == ("called correctly" if called == found.labels[place] else "called incorrectly")


@pytest.mark.parametrize("found", [many(), two()])
def test_groups_take_turns_and_a_larger_count_only_adds_cases(found):
    previous: set[int] = set()
    for count in range(1, 30):
        chosen, groups = choose(found, count)
        assert len(set(chosen)) == count
        assert previous < set(chosen)
        assert list(groups) == sorted(groups, key=CLASS_GROUPS.index)
        previous = set(chosen)
    shares, there = Counter(choose(found, 12)[1]), Counter(class_groups(found))
    assert all(shares[group] >= min(3, there[group]) for group in CLASS_GROUPS)


def test_correct_cases_are_of_every_class_and_errors_begin_with_the_surest():
    found = many()
    chosen, groups = choose(found, 18)
    right = [index for index, group in zip(chosen, groups, strict=True) if group == "called correctly"]
    assert Counter(found.labels[right].tolist()) == {0: 2, 1: 2, 2: 2}
    wrong = [index for index, group in zip(chosen, groups, strict=True) if group == "called incorrectly"]
    sure = found.probabilities.max(axis=1)
    assert sure[wrong].tolist() == sorted(sure[wrong], reverse=True)
    errors = [i for i, group in enumerate(class_groups(found)) if group == "called incorrectly"]
    assert sure[wrong[0]] == sure[errors].max()


def test_all_are_chosen_where_there_are_fewer():
    found = many(7)
    assert sorted(choose(found, 50)[0]) == list(range(7))


def test_chest_x_rays_are_chosen_as_ever():
    found = two(names=("normal", "pneumonia"))
    chosen, groups = choose(found, 10)
    assert chosen == choose_cases(found.probabilities, found.labels, 0.4, 10)
    assert list(groups) == [group_of(found.probabilities[i], found.labels[i], 0.4) for i in chosen]
    assert set(found.explained(chosen)) == {1}


def test_a_decision_is_between_the_two_likeliest_or_the_two_classes():
    found = many()
    for index, told in enumerate(decisions(found, range(len(found.labels)))):
        ranked = sorted(range(3), key=lambda label: -found.probabilities[index, label])
        assert told.labels == (NAMES[ranked[1]], NAMES[ranked[0]])
        assert (told.threshold, told.probability) == tuple(found.probabilities[index, [ranked[1], ranked[0]]])
        assert not told.two_classes
    assert found.explained([4, 9]) == found.probabilities[[4, 9]].argmax(axis=1).tolist()
    of_two = two()
    (told,) = decisions(of_two, [5])
    assert (told.probability, told.threshold, told.labels, told.two_classes) == (
        of_two.probabilities[5],
        0.4,
        ("x", "y"),
        True,
    )
