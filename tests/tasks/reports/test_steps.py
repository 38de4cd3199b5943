import pytest
from prefect.blocks.system import Secret

from models.report_generation.generator import Row
from models.report_generation.schema import Request
from tasks.records.reports import WrittenRecord
from tasks.reports.steps import _rows_of_cases, _token, speed
from tests.tasks.reports.authors import case


@pytest.mark.usefixtures("prefect_server")
def test_the_token_comes_from_the_secret_block_else_from_the_environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "from the environment")
    assert _token("no-such-block") == "from the environment"
    Secret(value="from the block").save("hub-token-for-tests", overwrite=True)
    assert _token("hub-token-for-tests") == "from the block"
    monkeypatch.setenv("HF_TOKEN", "")
    assert _token("no-such-block") is None


def _row(name: str, index: int) -> Row:
    return Row(id=name, request=Request(case=case(index), image=None, image_sha256=None, strategy="plain"))


def test_rows_are_shared_out_by_the_case_that_asks_for_them_first():
    rows = (_row("a", 4), _row("b", 2), _row("shared", 4), _row("c", 7), _row("shared", 7), _row("a", 4))
    parts = [[row.id for row in _rows_of_cases(rows, first, first + 1)] for first in range(3)]
    assert parts == [["a", "shared"], ["b"], ["c"]]
    assert [row.id for row in _rows_of_cases(rows, 0, 3)] == ["a", "b", "shared", "c"]


def _batch(**fields) -> WrittenRecord:
    rows = {"uri": "", "sha256": "", "size": 0, "media_type": "application/json"}
    return WrittenRecord(rows=rows, quarantined=(), **fields)


def test_speed_is_taken_over_all_batches():
    batches = [_batch(count=4, tokens=300, seconds=2.0, peak_gib=3.0), _batch(count=2, tokens=100, seconds=2.0)]
    assert speed(batches) == {
        "reports/seconds_per_report": pytest.approx(4 / 6),
        "reports/tokens_per_second": 100,
        "gpu/peak_memory_gib": 3.0,
    }
    assert speed([_batch(count=2, seconds=1.0)]) == {"reports/seconds_per_report": 0.5}
