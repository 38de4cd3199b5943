import numpy as np
import pytest

from tasks.retrieval.analyses.near_duplicates import (
    NearDuplicate,
    Place,
    duplicate_list,
    duplicate_markdown,
    duplicate_metrics,
    find_near_duplicates,
    items_to_leave_out,
    measure_effect,
    precision_without,
)


@pytest.fixture(scope="module")
def splits():
    """Noise with a pair across splits, one of them darker, a noisy pair within test, and a contradiction in train."""
    generator = np.random.default_rng(0)
    images = {
        split: generator.integers(0, 200, (count, 8, 8), dtype=np.uint8)
        for split, count in (("train", 12), ("val", 5), ("test", 9))
    }
    labels = {split: np.arange(len(array)) % 2 for split, array in images.items()}
    images["train"][5] = images["train"][2]
    images["val"][3] = images["train"][7] // 2 * 2
    images["train"][7] = images["val"][3] // 2 + 40
    images["test"][8] = images["test"][4] + generator.integers(0, 30, (8, 8), dtype=np.uint8)
    images["test"][1] = images["test"][6] = 90  # of one colour: like none
    return images, labels


def naive_pairs(images, labels, least):
    places = [(split, index) for split in images for index in range(len(images[split]))]
    found = {}
    for number, (split, index) in enumerate(places):
        for other, place in places[number + 1 :]:
            one, two = images[split][index].ravel().astype(float), images[other][place].ravel().astype(float)
            if one.std() and two.std() and (correlation := np.corrcoef(one, two)[0, 1]) >= least:
                found[(split, index, labels[split][index]), (other, place, labels[other][place])] = correlation
    return found


@pytest.mark.parametrize("least", [0.95, 0.2])
def test_pairs_are_those_of_a_naive_search(splits, least):
    expected = naive_pairs(*splits, least)
    pairs = find_near_duplicates(*splits, least_correlation=least)
    assert len(expected) == 3 if least == 0.95 else len(expected) > 10
    found = {
        tuple((place.split, place.index, place.label) for place in (pair.first, pair.second)): pair.correlation
        for pair in pairs
    }
    assert len(found) == len(pairs)
    assert found == pytest.approx(expected)


def test_contradictions_come_first_then_pairs_across_splits(splits):
    contradiction, across, within = find_near_duplicates(*splits)
    assert contradiction == NearDuplicate(Place("train", 2, 0), Place("train", 5, 1), 1.0)
    assert contradiction.contradictory
    assert contradiction.identical
    assert across == NearDuplicate(Place("train", 7, 1), Place("val", 3, 1), 1.0)  # only brightness and contrast differ
    assert across.across_splits
    assert (within.first, within.second) == (Place("test", 4, 0), Place("test", 8, 0))
    assert not within.identical
    assert not within.across_splits


def test_items_to_leave_out_name_the_query_first():
    pairs = [
        NearDuplicate(Place("test", 1, 0), Place("test", 5, 0), 0.97),
        NearDuplicate(Place("train", 7, 0), Place("test", 2, 0), 1.0),
        NearDuplicate(Place("train", 7, 0), Place("train", 8, 0), 1.0),
    ]
    assert items_to_leave_out(pairs, "test", "test") == {(1, 5), (5, 1)}
    assert items_to_leave_out(pairs, "test", "train") == {(2, 7)}
    assert items_to_leave_out(pairs, "val", "train") == set()


NEIGHBOURS = np.array([[11, 12, 13], [10, 13, 12], [13, 10, 11], [12, 11, 10]])
IDS, LABELS = np.array([10, 11, 12, 13]), np.array([0, 0, 1, 1])


def test_an_item_that_left_makes_room_for_the_next():
    found = (NEIGHBOURS, LABELS[NEIGHBOURS - 10], IDS, LABELS)
    assert precision_without(*found, set(), 1).tolist() == [1, 1, 1, 1]
    assert precision_without(*found, {(10, 11), (12, 13)}, 1).tolist() == [0, 1, 0, 1]
    assert precision_without(*found, {(10, 11), (12, 13)}, 2).tolist() == [0, 0.5, 0, 0.5]
    with pytest.raises(ValueError, match="Fewer than k = 3"):
        precision_without(*found, {(10, 11)}, 3)


def test_rescoring_agrees_with_a_naive_loop():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, 30)
    neighbours = np.array([generator.permutation(np.delete(np.arange(30), query))[:20] for query in range(30)])
    left_out = {(int(query), int(item)) for query, item in generator.integers(0, 30, (60, 2))}
    expected = []
    for query in range(30):
        kept = [item for item in neighbours[query] if (query, item) not in left_out]
        expected.append(np.mean([labels[item] == labels[query] for item in kept[:5]]))
    found = precision_without(neighbours, labels[neighbours], np.arange(30), labels, left_out, 5)
    np.testing.assert_allclose(found, expected)


def test_the_effect_is_reported_with_its_interval():
    pair = NearDuplicate(Place("test", 10, 0), Place("test", 11, 0), 1.0)
    left_out = items_to_leave_out([pair], "test", "test")
    effect = measure_effect(NEIGHBOURS, LABELS[NEIGHBOURS - 10], IDS, LABELS, left_out, samples=200, seed=0)
    assert (effect.affected, effect.with_duplicates, effect.without_duplicates) == (2, 1.0, 0.5)
    assert effect.difference == -0.5
    assert effect.difference_interval == (-1.0, 0.0)
    metrics = duplicate_metrics([pair], effect)
    assert metrics["duplicates/pairs"] == metrics["duplicates/identical"] == 1
    assert metrics["duplicates/across_splits"] == metrics["duplicates/contradictory"] == 0
    assert metrics["duplicates/loo_precision_at_1_without"] == 0.5
    assert metrics["duplicates/loo_precision_at_1_difference_ci_low"] == -1
    text = duplicate_markdown([pair], effect)
    assert "| test #10 (normal) | test #11 (normal) | 1.000 |" in duplicate_list([pair], ("normal", "pneumonia"))
    assert "| test | 1 | 1 | 0 |" in text


def test_no_pairs_change_nothing():
    effect = measure_effect(NEIGHBOURS, LABELS[NEIGHBOURS - 10], IDS, LABELS, set(), samples=50, seed=0)
    assert effect.affected == effect.difference == 0
    assert effect.difference_interval == (0, 0)
    assert "0.95 or more: 0." in duplicate_markdown([], effect)
