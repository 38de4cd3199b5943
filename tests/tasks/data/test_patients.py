import numpy as np
import pytest

from tasks.data.patients import divide, patient_of, together


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person123_bacteria_4.jpeg", "person123"),
        ("person123_virus_12.PNG", "person123"),
        ("NORMAL2-IM-0001-0001.jpeg", "NORMAL2-IM-0001"),
        ("NORMAL2-IM-0499-0001-0002.jpeg", "NORMAL2-IM-0499"),
        ("IM-0001-0001.jpeg", "IM-0001"),
        ("IM-0125-0001-0002.jpeg", "IM-0125"),
        ("VIRUS-1008087-0001.jpeg", "1008087"),
        ("BACTERIA-1008087-0002.dcm", "1008087"),
        ("IM-0001-0001", "IM-0001"),
    ],
)
def test_the_public_names_say_of_whom_an_image_is(name, patient):
    assert patient_of(name) == patient


@pytest.mark.parametrize(
    "name", ["doe_jane_1.png", "person1.png", "person1_bacteria_4.jane", "IM-0001-0001 Doe.png", "00000013_005.png", ""]
)
def test_no_other_name_says_anything(name):
    assert patient_of(name) is None


def test_what_has_anything_in_common_is_one_group_over_any_number_of_steps():
    groups = together([["a"], ["b", 1], [1, 2], ["c"], [2, "d"], ["a"], ["e"]])
    same = groups[:, None] == groups
    expected = [{0, 5}, {1, 2, 4}, {3}, {6}]
    assert {tuple(np.flatnonzero(row)) for row in same} == {tuple(sorted(each)) for each in expected}


def test_no_group_lies_in_two_splits_and_each_class_has_its_share():
    rng = np.random.default_rng(5)
    groups = np.sort(rng.integers(0, 400, 1500))
    labels = (groups % 4 > 0).astype(np.int64)  # a patient has one class here, as most have
    labels[rng.random(1500) < 0.02] ^= 1  # but some have both
    splits = np.array(divide(labels, groups))
    assert all(len(set(splits[groups == group])) == 1 for group in np.unique(groups))
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert np.mean(splits == split) == pytest.approx(share, abs=0.02)
        assert labels[splits == split].mean() == pytest.approx(labels.mean(), abs=0.04)
    assert divide(labels, groups) == splits.tolist()
