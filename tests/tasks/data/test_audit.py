import dataclasses
import json

import numpy as np
import pytest

from tasks.data.audit import audit, audit_table
from tasks.data.phantoms import draw_phantoms
from tasks.data.validation import SPLITS, Splits

LABELS = {0: "normal", 1: "pneumonia"}


def planted() -> Splits:
    """Four-pixel images whose copies are known: value v stands for the image filled with v."""

    def images(*values: int) -> np.ndarray:
        return np.stack([np.full((2, 2), value, np.uint8) for value in values])

    return Splits(
        train_images=images(1, 2, 3, 2, 2, 9),  # 2 occurs three times
        train_labels=np.array([0, 1, 0, 1, 1, 0]),
        val_images=images(2, 7, 2),  # 2 again, twice
        val_labels=np.array([1, 0, 0]),  # and once under the other label
        test_images=images(9, 8, 30),  # 9 as in train, under the other label
        test_labels=np.array([1, 1, 0]),
    )


def test_planted_copies_are_found():
    result = audit(planted(), LABELS)
    assert {name: split.repeats for name, split in result.splits.items()} == {"train": 2, "val": 1, "test": 0}
    found = {(o.first, o.second): (o.distinct, o.in_first, o.in_second, o.pairs) for o in result.overlaps}
    assert found == {("train", "val"): (1, 3, 2, 6), ("train", "test"): (1, 1, 1, 1), ("val", "test"): (0, 0, 0, 0)}
    assert result.train_shared_with_validation == [1, 3, 4]
    assert result.contradictions == 2
    assert result.splits["train"].counts == {"normal": 3, "pneumonia": 3}
    assert result.splits["val"].shares == {"normal": pytest.approx(2 / 3), "pneumonia": pytest.approx(1 / 3)}
    assert result.splits["test"].brightness == {"normal": 30.0, "pneumonia": 8.5}
    assert result.splits["test"].shift["normal"] == pytest.approx(30 - (1 + 3 + 9) / 3)


def test_copies_match_a_comparison_of_every_pair():
    generator = np.random.default_rng(3)
    splits = Splits(
        *(generator.integers(0, 2, size=(count, 2, 2), dtype=np.uint8) for count in (40, 15, 20)),
        *(generator.permutation(np.arange(count) % 2) for count in (40, 15, 20)),
    )
    result = audit(splits, LABELS)
    for name in SPLITS:
        images = splits.images(name)
        naive = sum(any((images[i] == images[j]).all() for j in range(i)) for i in range(len(images)))
        assert result.splits[name].repeats == naive
    for overlap in result.overlaps:
        first, second = splits.images(overlap.first), splits.images(overlap.second)
        same = np.array([[(a == b).all() for b in second] for a in first])
        assert overlap.pairs == same.sum()
        assert overlap.in_first == same.any(axis=1).sum()
        assert overlap.in_second == same.any(axis=0).sum()


def test_colour_images_of_many_classes_match_a_plain_computation():
    """Copies count when all three channels agree; brightness and shifts are those of NumPy's own mean and variance."""
    generator = np.random.default_rng(11)
    counts, classes = {"train": 2600, "val": 90, "test": 180}, 9  # more images of a class than are summed at once
    images = {name: generator.integers(0, 256, size=(count, 3, 3, 3), dtype=np.uint8) for name, count in counts.items()}
    targets = {name: np.minimum(np.arange(count) % 20, classes - 1) for name, count in counts.items()}
    images["val"][5] = images["train"][7]
    images["test"][4] = images["train"][8]
    images["test"][4, 0, 0, 2] ^= 1  # one channel of one pixel differs
    splits = Splits(*images.values(), *targets.values())
    labels = {label: f"grade {label}" for label in range(classes)}
    result = audit(splits, labels)
    assert result.train_shared_with_validation == [7]
    assert [overlap.pairs for overlap in result.overlaps] == [1, 0, 0]
    assert result.contradictions == 1  # the copy lies at another label
    for name, split in result.splits.items():
        assert split.counts == {word: int((targets[name] == label).sum()) for label, word in labels.items()}
        for label, word in labels.items():
            chosen, train = images[name][targets[name] == label], images["train"][targets["train"] == label]
            difference = chosen.mean(axis=0) - train.mean(axis=0)
            variance = train.var(axis=0) * (1 / len(chosen) + 1 / len(train))
            assert split.brightness[word] == pytest.approx(chosen.mean())
            assert split.shift[word] == pytest.approx(np.sqrt((difference**2).mean()), abs=1e-9)
            assert split.shift_by_chance[word] == pytest.approx(np.sqrt(variance.mean()))
    assert max(split.counts["grade 8"] for split in result.splits.values()) > 1024


def test_uniform_images_shift_by_nothing():
    images, targets = np.full((6, 2, 2), 255, np.uint8), np.array([0, 1] * 3)
    test = audit(Splits(images, images, images, targets, targets, targets), LABELS).splits["test"]
    assert (test.shift, test.shift_by_chance) == ({"normal": 0, "pneumonia": 0}, {"normal": 0, "pneumonia": 0})


def test_shift_by_chance_is_what_random_splits_show():
    """Splits drawn from one population shift as much as expected by chance, within its spread."""
    generator = np.random.default_rng(5)
    images = generator.integers(0, 256, size=(900, 6, 6)).astype(np.uint8)
    targets = np.arange(900) % 2
    splits = Splits(images[:500], images[500:700], images[700:], targets[:500], targets[500:700], targets[700:])
    test = audit(splits, LABELS).splits["test"]
    for word in LABELS.values():
        assert test.shift[word] == pytest.approx(test.shift_by_chance[word], rel=0.4)
    brighter = dataclasses.replace(splits, test_images=np.clip(splits.test_images, 0, 205) + np.uint8(50))
    moved = audit(brighter, LABELS).splits["test"]
    assert all(moved.shift[word] > 3 * moved.shift_by_chance[word] for word in LABELS.values())


def test_phantoms_hold_no_copies():
    result = audit(draw_phantoms(28, seed=0), LABELS)
    assert all(split.repeats == 0 for split in result.splits.values())
    assert all(overlap.pairs == 0 for overlap in result.overlaps)
    assert result.train_shared_with_validation == []


def test_known_answers_of_the_official_file(real_splits):
    result = audit(real_splits, LABELS)
    assert {name: (split.images, split.repeats) for name, split in result.splits.items()} == {
        "train": (4708, 18),
        "val": (524, 0),
        "test": (624, 3),
    }
    assert [round(split.shares["pneumonia"], 3) for split in result.splits.values()] == [0.742, 0.742, 0.625]
    overlaps = {(o.first, o.second): (o.distinct, o.in_second) for o in result.overlaps}
    assert overlaps == {("train", "val"): (8, 8), ("train", "test"): (0, 0), ("val", "test"): (0, 0)}
    # Eight distinct images, two of which train holds twice: all ten copies have to leave.
    assert result.train_shared_with_validation == [289, 662, 1440, 1834, 2041, 3130, 3170, 3874, 4036, 4193]
    assert result.contradictions == 0
    validation, test = result.splits["val"], result.splits["test"]
    assert validation.shift["normal"] < 1.2 * validation.shift_by_chance["normal"]
    assert test.shift["normal"] > 3 * test.shift_by_chance["normal"]


def test_audit_is_json_and_its_table_shows_the_figures():
    result = audit(planted(), LABELS)
    assert json.loads(json.dumps(dataclasses.asdict(result))) == dataclasses.asdict(result)
    text = audit_table(result)
    assert "| class | train | val | test |" in text
    assert "| pneumonia | 3 (50.0%) | 1 (33.3%) | 2 (66.7%) |" in text
    assert "| all images | 6 | 3 | 3 |" in text
    assert "| repeats of an earlier image | 2 | 1 | 0 |" in text
    assert "| train and val | 1 | 3 | 2 | 6 |" in text
    assert "validation holds them too: 3 (indices 1, 3, 4)." in text
    assert "| test | normal | 30.0 | 25.7 |" in text
    none = audit_table(audit(draw_phantoms(28, seed=0), LABELS))
    assert "validation holds them too: 0." in none
    many = dataclasses.replace(result, train_shared_with_validation=list(range(100, 130)))
    assert "too: 30 (indices 100, 101," in audit_table(many)
    assert "118, 119, …)." in audit_table(many)
