import math

from flows.support.headlines import HEADLINES, headlines

METRICS = {
    "test/auc": 0.98765, "test/auc_ci_low": 0.9, "test/auc_ci_high": 1.0, "test/accuracy": 0.5,
    "test/balanced_accuracy": 1.0, "test/recall": 0.75, "test/specificity": 0.0, "test/ece": 0.1,
}  # fmt: skip


def test_the_first_five_that_there_are_have_a_value_an_interval_and_a_meaning():
    rows = headlines("classification", METRICS, ("normal", "pneumonia"))
    assert [row[:3] for row in rows] == [
        ("Test AUC", "0.988", "0.900 – 1.000"),
        ("Accuracy", "0.500", ""),
        ("Balanced accuracy", "1.000", ""),
        ("Sensitivity", "0.750", ""),
        ("Specificity", "0.000", ""),
    ]
    assert rows[3][3] == "Share of the images of pneumonia that are found."
    assert all(row[3] for row in rows)


def test_where_there_are_more_classes_others_take_the_places_of_what_is_not_defined():
    graded = METRICS | {"test/quadratic_kappa": 0.5}  # recall is there too: the mean over the classes once again
    titles = [title for title, *_ in headlines("classification", graded, ("a", "b", "c"))]
    assert titles == ["Test AUC", "Accuracy", "Balanced accuracy", "Quadratic kappa", "Calibration error"]


def test_where_an_image_may_have_several_labels_each_figure_says_that_it_is_a_mean():
    rows = headlines("classification", METRICS, ("a", "b", "c"), several=True)
    assert all(row[3].startswith("Mean over the labels, each against its absence. ") for row in rows)


def test_the_level_of_chance_is_said_where_it_is_known():
    (row,) = headlines("retrieval", {"loo/map": 0.9, "chance/loo/map": 0.531}, ())
    assert row[3].endswith("By chance: 0.531.")


def test_a_count_has_no_decimals_and_what_is_not_known_is_a_dash():
    (row,) = headlines("reports", {"reports/count": 24.0}, ())
    assert row[1] == "24"
    (row,) = headlines("reports", {"reports/label_accuracy": math.nan}, ())
    assert row[1] == "–"


def test_a_stage_without_headlines_has_none():
    assert headlines("search", METRICS, ()) == []


def test_every_metric_is_named_once_for_a_stage():
    for found in HEADLINES.values():
        assert len({headline.metric for headline in found}) == len(found)
