import pytest

from tasks.records.reports import WrittenRecord
from tasks.reports.steps.writing import throughput_metrics


def _batch(**fields) -> WrittenRecord:
    rows = {"uri": "", "sha256": "", "size": 0, "media_type": "application/json"}
    return WrittenRecord(rows=rows, quarantined=(), **fields)


def test_throughput_is_taken_over_all_batches():
    batches = [_batch(count=4, tokens=300, seconds=2.0, peak_gib=3.0), _batch(count=2, tokens=100, seconds=2.0)]
    assert throughput_metrics(batches) == {
        "reports/seconds_per_report": pytest.approx(4 / 6),
        "reports/tokens_per_second": 100,
        "gpu/peak_memory_gib": 3.0,
    }
    assert throughput_metrics([_batch(count=2, seconds=1.0)]) == {"reports/seconds_per_report": 0.5}
