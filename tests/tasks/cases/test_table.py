import io

import pandas as pd

from tasks.cases.table import as_table, case_csv, case_metrics, case_parquet, case_rows
from tests.tasks.cases.some_cases import a_case

CASES = [
    a_case("=HYPERLINK(1).png", 0.2, similar=("normal", "pneumonia")),
    a_case("odd.png", foreign=True),
    a_case("broken.png", problem="broken.png is no picture: give another."),
    a_case("d.png").model_copy(update={"reports": {"template": "pneumonia"}}),
]


def test_every_row_has_the_same_columns_and_foreign_pictures_no_class():
    rows = case_rows(CASES)
    assert len({tuple(row) for row in rows}) == 1
    assert [row["label"] for row in rows] == ["normal", None, None, "pneumonia"]
    assert [row["foreign"] for row in rows] == [False, True, None, False]
    assert rows[0]["similar_metric"] == "pneumonia" and rows[0]["nearest_metric"] == "train #3 pneumonia 0.980"
    assert rows[3]["report_template"] == "pneumonia" and rows[2]["problem"].startswith("broken.png is no picture")


def test_csv_and_parquet_hold_the_same_and_no_formula():
    csv = pd.read_csv(io.BytesIO(case_csv(CASES)))
    parquet = pd.read_parquet(io.BytesIO(case_parquet(CASES)))
    assert list(csv.columns) == list(parquet.columns) == as_table(CASES)[0]
    assert csv["name"][0] == "'=HYPERLINK(1).png" and parquet["name"][0] == "=HYPERLINK(1).png"
    assert csv["probability"].tolist()[0] == parquet["probability"].tolist()[0] == 0.2


def test_foreign_and_unreadable_ones_are_counted_nowhere_else():
    found = case_metrics(CASES, ("normal", "pneumonia"))
    assert found == {
        "cases/count": 4, "cases/unreadable": 1, "cases/foreign": 1, "cases/borderline": 0, "cases/disagreement": 1,
        "cases/counted": 2, "cases/normal": 1, "cases/pneumonia": 1,
    }  # fmt: skip


def test_no_case_is_an_empty_table():
    assert case_csv([]) and case_parquet([]) and as_table([]) == ([], [])
