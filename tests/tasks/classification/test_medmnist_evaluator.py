"""Metrics of every flat set against MedMNIST's own evaluator and scikit-learn, on files in MedMNIST's exact layout."""

import medmnist
import numpy as np
import pytest
from sklearn import metrics as reference

from models.errors import InputError
from tasks.classification.label_scores import score_labels
from tasks.classification.metrics import KAPPA, METRICS, score, score_with_intervals
from tasks.classification.trust.calibration import by_class
from tasks.data.catalogue import SEVERAL, look_up
from tasks.data.validation import read_splits
from tasks.records.data import GRADED, SEVERAL_LABELS
from tests.support.drawn_sets import FLAT, draw_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for flag in FLAT:
        draw_set(folder, flag, {"train": 4, "val": 4, "test": 8})
    return folder


def read(folder, flag):
    entry = look_up(flag)
    several = entry.task == SEVERAL
    path = folder / entry.file_name
    return entry, read_splits(path, labels=entry.labels, size=28, channels=entry.channels, several=several)


def guesses(labels, columns, several):
    """Probabilities that say something of the labels, none of them exactly the threshold."""
    generator = np.random.default_rng(1)
    shown = labels if several else np.eye(columns)[labels]
    values = np.exp(generator.normal(0, 1, (len(labels), columns)) + shown)
    return values / (1 + values) if several else values / values.sum(axis=1, keepdims=True)


def test_every_flat_set_and_its_published_checksums_are_known():
    assert {flag for flag in medmnist.INFO if not flag.endswith("3d")} == set(FLAT)
    for flag in FLAT:
        info = medmnist.INFO[flag]
        for size in (28, 64, 128, 224):
            entry = look_up(flag, size)
            suffix = "" if size == 28 else f"_{size}"
            assert (entry.md5, entry.address) == (info[f"MD5{suffix}"], info[f"url{suffix}"])
            assert len(entry.md5) == 32
        assert (entry.task, entry.channels, entry.licence) == (info["task"], info["n_channels"], info["license"])
        assert [entry.labels[label] for label in range(len(entry.labels))] == list(info["label"].values())
    assert {flag for flag in FLAT if medmnist.INFO[flag]["task"] == SEVERAL} == set(SEVERAL_LABELS)


@pytest.mark.parametrize("flag", FLAT)
def test_a_drawn_file_is_read_as_medmnist_reads_it(folder, flag):
    entry, splits = read(folder, flag)
    official = getattr(medmnist, medmnist.INFO[flag]["python_class"])(split="test", root=folder, size=28)
    np.testing.assert_array_equal(splits.test_images, official.imgs)
    np.testing.assert_array_equal(splits.test_labels.reshape(official.labels.shape), official.labels)
    assert (splits.test_images.ndim == 4) == (entry.channels == 3)


@pytest.mark.parametrize("flag", FLAT)
def test_auc_and_accuracy_are_those_of_the_evaluator(folder, flag):
    entry, splits = read(folder, flag)
    several = entry.task == SEVERAL
    found = guesses(splits.test_labels, len(entry.labels), several)
    official = medmnist.Evaluator(flag, "test", size=28, root=folder).evaluate(found)
    if several:
        scores = score_labels(found, splits.test_labels, tuple(entry.labels.values()), samples=20)
    elif len(entry.labels) == 2:
        scores = score(found[:, 1], splits.test_labels, 0.5)
    else:
        scores = score(found, splits.test_labels, None)
    assert scores["auc"] == pytest.approx(official.AUC, abs=1e-12)
    assert scores["accuracy"] == pytest.approx(official.ACC, abs=1e-12)


def test_each_label_of_several_has_the_auc_of_scikit_learn_and_the_means_are_those_of_a_loop(folder):
    entry, splits = read(folder, "chestmnist")
    labels, names = splits.test_labels, tuple(entry.labels.values())
    found = guesses(labels, len(names), several=True)
    scores = score_labels(found, labels, names, samples=50)
    areas = [reference.roc_auc_score(labels[:, column], found[:, column]) for column in range(len(names))]
    assert [scores[f"auc_{name.lower()}"] for name in names] == pytest.approx(areas, abs=1e-12)
    assert scores["average_precision"] == pytest.approx(reference.average_precision_score(labels, found), abs=1e-12)
    assert scores["recall"] == pytest.approx(reference.recall_score(labels, found >= 0.5, average="macro"), abs=1e-12)
    assert scores["f1"] == pytest.approx(reference.f1_score(labels, found >= 0.5, average="macro"), abs=1e-12)
    assert scores["brier"] == pytest.approx(np.mean((found - labels) ** 2), abs=1e-12)
    for name in (*METRICS, "auc_hernia"):
        assert scores[f"{name}_ci_low"] <= scores[f"{name}_ci_high"]
    assert scores["auc_hernia_ci_low"] < scores["auc_hernia"] < scores["auc_hernia_ci_high"]


def test_a_bootstrap_sample_without_a_rare_label_counts_for_the_others():
    labels = np.zeros((40, 2), np.int64)
    labels[:20, 0] = labels[0, 1] = 1
    scores = score_labels(guesses(labels, 2, several=True), labels, ("common", "rare"), samples=50)
    assert all(np.isfinite(value) for value in scores.values())


def test_grades_and_no_other_classes_have_a_kappa(folder):
    assert GRADED == ("retinamnist",)
    entry, splits = read(folder, "retinamnist")
    found = guesses(splits.test_labels, len(entry.labels), several=False)
    plain = score_with_intervals(found, splits.test_labels, None, samples=50)
    graded = score_with_intervals(found, splits.test_labels, None, samples=50, graded=True)
    assert graded.keys() - plain.keys() == {KAPPA, f"{KAPPA}_ci_low", f"{KAPPA}_ci_high"}
    assert {name: graded[name] for name in plain} == plain
    assert graded[f"{KAPPA}_ci_low"] < graded[KAPPA] < graded[f"{KAPPA}_ci_high"]
    likeliest = by_class(found).argmax(axis=1)
    expected = reference.cohen_kappa_score(likeliest, splits.test_labels, weights="quadratic")
    assert graded[KAPPA] == pytest.approx(expected, abs=1e-12)


def test_labels_of_several_that_are_wrong_are_one_sentence(folder, tmp_path):
    arrays = dict(np.load(folder / "chestmnist.npz"))
    for change, told in (
        ({"val_labels": arrays["val_labels"][:, :1]}, r"val_labels has the shape \(56, 1\): expected .*\(images, 14\)"),
        ({"test_labels": arrays["test_labels"] + 1}, r"test_labels holds 2 for the label \w+ of the image at index \d"),
        ({"val_labels": np.zeros_like(arrays["val_labels"])}, r"atelectasis \(and 13 more labels\) in all images or"),
    ):
        np.savez(tmp_path / "wrong.npz", **(arrays | change))
        with pytest.raises(InputError, match=told) as refused:
            read_splits(tmp_path / "wrong.npz", labels=look_up("chestmnist").labels, size=28, channels=1, several=True)
        assert len(str(refused.value)) <= 300
