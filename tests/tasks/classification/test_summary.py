import numpy as np
import pytest

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.classification.metrics import score, score_with_intervals
from tasks.classification.summary import SplitCounts, classification_report, protocol, split_counts
from tasks.parameters.training import TrainingParameters
from tasks.records.base import StoredFile
from tasks.records.classification import CalibrationRecord, ClassifierRecord, EvaluationRecord
from tasks.records.data import DatasetRecord

FILE = StoredFile(uri="f", sha256="0" * 64, size=1, media_type="application/json")


def evaluation(test, val, points, confusion):
    return EvaluationRecord(
        metrics={f"test/{name}": value for name, value in test.items()}, validation=val, operating_points=points,
        confusion=confusion, predictions=FILE, classifier_sha256="0" * 64, threshold=None,
    )  # fmt: skip


def point(name, threshold, scores, is_result=True):
    return {"name": name, "threshold": threshold, "scores": scores, "is_result": is_result}


def report(phantoms=False):
    random = np.random.default_rng(0)
    labels = (random.random(90) < 0.6).astype(np.int64)
    probabilities = np.clip(random.normal(0.3 + 0.4 * labels, 0.2), 0, 1)
    val = score(np.clip(probabilities + np.where(labels == 1, 0.1, -0.2), 0, 1), labels, 0.5)
    test = score_with_intervals(probabilities, labels, 0.5, samples=50)
    text = classification_report(
        class_names=("normal", "pneumonia"),
        protocol=[("threshold", "one half, set beforehand"), ("a | b", "c")],
        splits=[SplitCounts("train", (1214, 3486), 8), SplitCounts("test", (234, 390))],
        evaluation=evaluation(
            test,
            val,
            (
                point("fixed", 0.5, score(probabilities, labels, 0.5)),
                point("oracle", 0.41, score(probabilities, labels, 0.41), is_result=False),
            ),
            ((200, 34), (8, 382)),
        ),
        sections=[("Data audit", "no duplicates")],
        phantoms=phantoms,
    )
    return text, test, val


def rows(text, first_cell):
    return [line for line in text.splitlines() if line.startswith(f"| {first_cell} |")]


def test_every_number_is_in_its_place():
    text, test, val = report()
    assert RESEARCH_NOTICE in text
    assert "| normal | 1214 (25.8%) | 234 (37.5%) |" in text
    assert "| pneumonia | 3486 (74.2%) | 390 (62.5%) |" in text
    assert "| all | 4700 | 624 |" in text
    assert "| left out, since another split holds them | 8 | 0 |" in text
    assert rows(text, "auc") == [
        f"| auc | {test['auc']:.3f} | {test['auc_ci_low']:.3f} – {test['auc_ci_high']:.3f} | {val['auc']:.3f} |"
    ]
    assert rows(text, "fixed")[0].startswith(f"| fixed | 0.500 | {test['accuracy']:.3f} |")
    assert "| true | predicted normal | predicted pneumonia | recall |" in text
    assert "| normal | 200 | 34 | 0.855 |" in text
    assert "| pneumonia | 8 | 382 | 0.979 |" in text
    assert (
        "42 of 624 test images are misclassified: 34 × “normal” as “pneumonia”, 8 × “pneumonia” as “normal”."
    ) in text
    assert "are of the class “pneumonia”" in text


def test_an_oracle_is_never_shown_as_a_result():
    text, _, _ = report()
    assert "| *oracle: tuned on test, not a result* | 0.410 |" in text


@pytest.mark.parametrize("phantoms", [False, True])
def test_phantoms_are_named(phantoms):
    assert (PHANTOM_NOTICE in report(phantoms)[0]) == phantoms


def test_every_row_of_a_table_has_the_cells_of_its_header():
    blocks = [block for block in report()[0].split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5
    for block in blocks:
        widths = {line.replace("\\|", "").count("|") for line in block.strip().splitlines()}
        assert len(widths) == 1, block


def report_of_four():
    random = np.random.default_rng(0)
    labels = np.arange(80) % 4
    weights = random.gamma(1.0, size=(80, 4)) + np.eye(4)[labels]
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return classification_report(
        class_names=("edema", "drusen", "scar", "normal"),
        protocol=[("decision", "the likeliest class")],
        splits=[SplitCounts("test", (20, 20, 20, 20))],
        evaluation=evaluation(
            score_with_intervals(probabilities, labels, None, samples=50),
            score(probabilities, labels, None),
            (),
            ((18, 2, 0, 0), (0, 20, 0, 0), (3, 1, 15, 1), (0, 0, 0, 20)),
        ),
        phantoms=False,
    )


def test_more_classes_have_no_threshold_but_a_recall_each():
    text = report_of_four()
    assert "Operating points" not in text
    assert "means over the classes" in text
    assert "| scar | 3 | 1 | 15 | 1 | 0.750 |" in text
    assert "7 of 80 test images are misclassified: most often 3 × “scar” as “edema”, 2 × “edema”" in text


def test_further_sections_follow():
    text, _, _ = report()
    assert text.rstrip().endswith("## Data audit\n\nno duplicates")
    assert text.index("## Confusion matrix") < text.index("## Data audit")


def test_images_that_are_left_out_are_counted_apart():
    arrays = {f"{split}_labels": np.array([0, 1, 1, 1]) for split in ("train", "val", "test")}
    train, val, test = split_counts(arrays, (1, 3), 3)
    assert (train, val.counts, test.excluded) == (SplitCounts("train", [1, 1, 0], 2), [1, 3, 0], 0)


@pytest.mark.parametrize(
    ("threshold", "rule", "told"), [(None, None, "the likeliest class"), (0.25, "fixed", "0.250, fixed at .5")]
)
def test_the_protocol_says_how_a_class_is_chosen(threshold, rule, told):
    data = DatasetRecord(
        name="breastmnist", kind="own file", size=28, channels=1, labels=("a", "b"), licence="", md5="m", sha256="s",
        splits=FILE, audit=FILE, audit_table=FILE, counts={}, excluded_train=(), phantoms=False, limit=None, source="",
    )  # fmt: skip
    classifier = ClassifierRecord(architecture="compact28", weights=FILE, best_epoch=3, dataset_sha256="s")
    calibration = CalibrationRecord(temperature=1.25, threshold=threshold, rule=rule, candidates={})
    decided = dict(protocol(data, TrainingParameters(), classifier, calibration))
    assert decided["operating point"].startswith(told)
    assert decided["temperature"] == "1.250, fitted on validation"
    assert decided["weights"].startswith("epoch 3")
