"""The five lines of a report: each figure in them is a metric, and each verdict follows from its interval."""

import re

import pytest
from markdown_it import MarkdownIt

from flows.support.headlines import title_of
from flows.support.opening import TITLES, Finding, opening
from tasks.records.base import StoredFile
from tasks.records.data import DatasetRecord
from tasks.shared.metric_names import class_metric

NONE = StoredFile(uri="none.json", sha256="0" * 64, size=2, media_type="application/json")
CLASSIFIED = {
    "test/auc": 0.978, "test/auc_ci_low": 0.964, "test/auc_ci_high": 0.989, "test/accuracy": 0.9423,
    "test/accuracy_ci_low": 0.923, "test/accuracy_ci_high": 0.96, "test/balanced_accuracy": 0.51,
    "test/balanced_accuracy_ci_low": 0.49, "test/balanced_accuracy_ci_high": 0.53, "test/recall": 0.985,
    "test/specificity": 0.872, "test/ece": 0.037,
}  # fmt: skip
RETRIEVED = {
    "loo/precision_at_1": 0.923, "loo/precision_at_1_ci_low": 0.904, "loo/precision_at_1_ci_high": 0.944,
    "chance/loo/precision_at_1": 0.531, "gallery/precision_at_1": 0.4, "gallery/precision_at_1_ci_low": 0.3,
    "gallery/precision_at_1_ci_high": 0.5, "chance/gallery/precision_at_1": 0.561, "loo/map_normal": 0.85,
    "chance/loo/map_normal": 0.374, "loo/map_pneumonia": 0.94, "chance/loo/map_pneumonia": 0.624,
    "drift/domain_auc_normal": 0.82, "drift/domain_auc_pneumonia": 0.62,
}  # fmt: skip
REPORTED = {
    "reports/count": 48.0, "reports/a/label_accuracy": 0.75, "reports/a/label_accuracy_ci_low": 0.6,
    "reports/a/label_accuracy_ci_high": 0.9, "reports/b/label_accuracy": 0.5, "reports/b/label_accuracy_ci_low": 0.3,
    "reports/b/label_accuracy_ci_high": 0.7, "reports/agreement_with_classifier": 0.8,
    "reports/a/mcnemar_p_holm": 0.012, "reports/b/mcnemar_p_holm": 1.0, "reports/unsupported_claims_per_report": 0.25,
    "reports/b/control/blank/concludes": 1.0,
}  # fmt: skip


def _lines(stage, metrics, decision="Said by the registry.", labels=("normal", "pneumonia"), **fields):
    data = DatasetRecord(
        name="pneumoniamnist", kind="official", size=28, channels=1, labels=labels, licence="CC BY 4.0", md5="m",
        sha256="s", splits=NONE, audit=NONE, audit_table=NONE, counts={"train": 3, "test": 2}, excluded_train=(),
        phantoms=False, **fields,
    )  # fmt: skip
    text = opening(stage, Finding("What ran", metrics, data, decision))
    found = re.findall(r"^(\d)\. \*\*(.+?)\*\* (.+)$", text, re.MULTILINE)
    assert [(int(number), title) for number, title, _ in found] == list(enumerate(TITLES, 1))
    assert text.count("\n") == len(TITLES)
    return [said for _, _, said in found]


@pytest.mark.parametrize(
    ("stage", "metrics"),
    [
        ("classification", CLASSIFIED),
        ("retrieval", RETRIEVED),
        ("reports", REPORTED),
        ("pipeline", CLASSIFIED | RETRIEVED | REPORTED),
    ],
)
def test_every_figure_is_a_metric_or_a_level_of_chance(stage, metrics):
    _, result, against, look, _ = _lines(stage, metrics)
    known = {f"{value:.3f}" for value in metrics.values()} | {"0.500"}
    for said in (result, against, look):
        assert set(re.findall(r"\d\.\d{3}", said)) <= known
    for name in ("test/auc", "test/accuracy", "loo/precision_at_1", "gallery/precision_at_1"):
        if name in metrics:
            low, high = metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"]
            title = title_of(name)
            told = re.search(rf"{title} ([\d.]+) \(([\d.]+) – ([\d.]+)\)", result, re.IGNORECASE)
            assert told and told.groups() == tuple(f"{value:.3f}" for value in (metrics[name], low, high))


def test_a_classification_says_which_figures_are_told_from_chance_and_which_side_errs():
    ran, result, against, look, limits = _lines("classification", CLASSIFIED)
    assert ran == "What ran on pneumoniamnist: 3 train, 2 test images of 28 × 28 pixels."
    assert result.startswith("Test AUC 0.978 (0.964 – 0.989); accuracy 0.942 (0.923 – 0.960); balanced accuracy 0.510")
    assert against == (
        "Better than chance: test AUC (0.500). Not told from chance: balanced accuracy (0.500). Said by the registry."
    )
    assert look.startswith("Specificity 0.872 is lower than sensitivity, 0.985:")
    assert "calibration error 0.037" in look.lower()
    assert limits.startswith("That it would do so elsewhere")


def test_chance_follows_the_number_of_classes_and_a_dataset_of_many_has_no_two_sides():
    measured = {**CLASSIFIED, "test/balanced_accuracy": 0.1, "test/balanced_accuracy_ci_high": 0.11}
    measured["test/balanced_accuracy_ci_low"] = 0.09
    _, _, against, look, _ = _lines("classification", measured, labels=tuple("abcdefgh"))
    assert "Worse than chance: balanced accuracy (0.125)." in against
    assert look.startswith("Which classes are taken for which")


def test_a_retrieval_names_the_class_nearest_to_chance_and_the_one_that_drifts_most():
    _, _, against, look, limits = _lines("retrieval", RETRIEVED)
    assert "Better than chance: precision at 1, within test (0.531)." in against
    assert "Worse than chance: precision at 1, against train (0.561)." in against
    assert look.startswith("Mean average precision of pneumonia 0.940 is nearest to its chance, 0.624")
    assert "images of normal are told from those of train with an AUC of 0.820" in look
    assert limits.startswith("That near images show the same disease")


def test_classes_are_found_whatever_they_are_called():
    labels = ("basophil", "immature granulocytes(myelocytes, <b>)")
    metrics = {class_metric("drift/domain_auc", label): 0.6 + place / 10 for place, label in enumerate(labels)}
    look = _lines("retrieval", metrics, labels=labels)[3]
    assert look.startswith("Test images of immature granulocytes(myelocytes, &lt;b&gt;) are told")
    assert "AUC of 0.700" in look


def test_reports_are_compared_by_strategy_with_chance_and_the_classifier():
    _, result, against, look, limits = _lines("reports", REPORTED, decision="")
    assert result == ("Reports 48; correct label of a 0.750 (0.600 – 0.900); correct label of b 0.500 (0.300 – 0.700).")
    assert against == (
        "Better than chance: correct label of a (0.500). Not told from chance: correct label of b (0.500). "
        "Reports have no champion."
    )
    assert "which some differ from on these cases (McNemar, least adjusted p 0.012)" in look
    assert "Shown a blank picture, b still concludes in 1.000 of the reports." in look
    assert "no expert" in limits


def test_what_is_not_measured_is_not_said():
    for stage in ("classification", "retrieval", "reports", "pipeline"):
        ran, result, against, *_ = _lines(stage, {}, decision="", limit=160)
        assert "first 160 of each split" in ran
        assert result == "There are no figures."
        assert "chance" not in against


def test_a_trial_and_a_missing_decision_are_said():
    *_, limits = _lines("classification", CLASSIFIED, limit=160)
    assert limits.startswith("Anything about the whole data: the first 160 images of each split are a part of the data")
    assert _lines("classification", {}, decision="")[2] == "It was not compared with the champion."


def test_what_comes_from_elsewhere_obeys_nothing():
    said = _lines("classification", {}, decision="<script>alert(1)</script>\n6. **more** [x](http://y)")
    shown = MarkdownIt("commonmark").enable("table").render("\n".join(said))
    assert "<script" not in shown and "<a " not in shown and "<strong>" not in shown and "<li>" not in shown


def test_other_stages_have_no_such_lines():
    assert opening("sweep", Finding("", {}, None, "")) == ""
