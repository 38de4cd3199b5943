import numpy as np

from tasks.classification.trust import figures
from tasks.classification.trust.conformal import evaluate_conformal
from tasks.classification.trust.failure_analysis import analyse_failures, confidences, neighbourhood
from tasks.classification.trust.label_audit import audit_labels
from tasks.classification.trust.robustness import measure_robustness
from tasks.classification.trust.shift import SplitOutputs, measure_shift
from tests.support.figures import REAL
from tests.tasks.classification.pictures import assert_sound, nothing_is_cut_off, pixels

NAMES = {
    2: ("normal", "pneumonia"),
    5: ("adipose", "debris", "cancer-associated stroma", "colorectal adenocarcinoma epithelium", "normal colon mucosa"),
}


def split(size, classes, seed, spread):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(size) % classes)
    logits = random.normal(0, spread, (size, classes))
    logits[np.arange(size), labels] += 3
    columns = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    images = random.integers(0, 256, (size, 8, 8) if classes == 2 else (size, 8, 8, 3), dtype=np.uint8)
    images[1] = images[0]
    probabilities = columns[:, 1] if classes == 2 else columns
    return SplitOutputs(images, labels, probabilities, columns.argmax(axis=1), logits)


def drawings(classes):
    names, threshold = NAMES[classes], 0.5 if classes == 2 else None
    val, test = split(100, classes, 0, 1.0), split(120, classes, 1, 2.0)
    shifts = measure_shift(val, test, names, permutations=9)
    audit = audit_labels(test.probabilities, test.labels, test.images, names)
    around = neighbourhood(test.embeddings, test.predicted, test.labels, val.embeddings, val.labels)
    failures = analyse_failures(test.probabilities, threshold, test.labels, around, names)
    report = evaluate_conformal(val.probabilities, val.labels, test.probabilities, test.labels, names)
    confidence = confidences(test.probabilities, threshold)
    assert audit.issues and audit.duplicates and failures.failures
    return {
        "conformal_coverage": lambda **o: figures.conformal_coverage(report, **o),
        "score_shift": lambda **o: figures.score_shift(val, test, shifts, threshold, **o),
        "label_issue_sheet": lambda **o: figures.label_issue_sheet(audit, test.images, **o),
        "near_duplicate_sheet": lambda **o: figures.near_duplicate_sheet(audit, test.images, **o),
        "failure_overview": lambda **o: figures.failure_overview(failures, around, confidence, **o),
    }


def test_every_figure_repeats_and_says_when_it_shows_phantoms():
    for draw in drawings(2).values():
        assert_sound(draw)


def test_a_figure_of_more_classes_has_something_on_it_and_nothing_is_cut_off():
    for name, draw in drawings(5).items():
        drawn = pixels(draw(source=REAL))
        assert (drawn < 0.9).any(axis=-1).mean() > 0.005, name
        assert nothing_is_cut_off(drawn), name


def test_the_errors_of_corrupted_images_are_drawn_for_both_splits():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    clean = np.clip(random.normal(0.2 + 0.6 * labels, 0.2), 0, 1)
    corrupted = np.clip(clean + random.normal(0, 0.3, (13, 5, 60)), 0, 1)
    splits = [measure_robustness(split, clean, corrupted, labels, 0.5) for split in ("val", "test")]
    assert_sound(lambda **o: figures.robustness(splits, **o))


def test_the_threshold_moves_the_line():
    val, test = split(60, 2, 0, 1.0), split(60, 2, 1, 2.0)
    shifts = measure_shift(val, test, NAMES[2], permutations=9)
    at = [figures.score_shift(val, test, shifts, threshold, source=REAL) for threshold in (0.5, 0.7)]
    assert at[0] != at[1]


def test_a_clean_audit_and_a_perfect_classifier_have_figures_too():
    test = split(60, 2, 1, 2.0)
    distinct = np.random.default_rng(5).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    sure = np.where(test.labels == 1, 0.95, 0.05)
    audit = audit_labels(sure, test.labels, distinct, NAMES[2])
    around = neighbourhood(test.embeddings, test.labels, test.labels, test.embeddings, test.labels)
    analysis = analyse_failures(sure, 0.5, test.labels, around, NAMES[2])
    for png in (
        figures.label_issue_sheet(audit, distinct, source=REAL),
        figures.near_duplicate_sheet(audit, distinct, source=REAL),
        figures.failure_overview(analysis, around, confidences(sure, 0.5), source=REAL),
    ):
        assert (pixels(png) < 0.9).any()
