import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from models.report_generation.prompting import STRATEGIES
from tests.benchmarks import medgemma as benchmark
from tests.benchmarks.bandwidth import claimed_bandwidth, copied_bandwidth
from tests.benchmarks.medgemma import Measurement, goals, line, main
from tests.support.medgemma_twin import write_checkpoint

WORDS = [
    "--device", "cpu", "--precisions", "fp32", "--batches", "1,8,best", "--images", "2", "--tokens", "4",
    "--singly", "2", "--lengths", "6,9", "--json-tokens", "5", "--flow-images", "2", "--rows-per-task", "2",
    "--strategies", "zero_shot,concise",
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def measured(checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("rows") / "rows.json"
    printed, kept = io.StringIO(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", printed)
        patch.setattr(benchmark, "line", lambda row: kept.append(_rows(output)) or line(row))
        assert main([*WORDS, "--checkpoint", str(checkpoint), "--output", str(output)]) == 0
    return _rows(output), printed.getvalue().splitlines(), kept


def _rows(output):
    return json.loads(output.read_text())["rows"] if output.exists() else []


def test_every_batch_size_and_length_is_measured_beside_one_at_a_time(measured):
    rows, _, _ = measured
    assert [(row["batch"], row["answer"], row["largest"], row["reports"]) for row in rows] == [
        ("one at a time", "4", 1, 2), ("1", "4", 1, 2), ("8", "4", 8, 8), ("best", "4", 8, 8), ("8", "4", 8, 8),
        ("flow, 2 tasks", "as asked", 1, 4), ("8", "5 JSON", 8, 8), ("8", "6", 8, 8), ("8", "9", 8, 8),
    ]  # fmt: skip
    for row in rows:
        assert row["reports_per_second"] == row["reports"] / row["seconds"] > 0
        if row["answer"].isdigit():
            assert row["tokens_per_second"] == pytest.approx(row["reports_per_second"] * int(row["answer"]))
    assert rows[0]["ratio"] == pytest.approx(1)
    for row in rows[1:5]:
        assert row["ratio"] == pytest.approx(row["reports_per_second"] / rows[0]["reports_per_second"])


def test_a_row_is_written_and_printed_before_the_next_is_measured(measured):
    rows, printed, kept = measured
    assert [len(before) for before in kept] == list(range(len(rows)))
    assert [words.split()[0] for words in printed[1 : 1 + len(rows)]] == ["fp32"] * len(rows)
    assert any("six strategies on 624 images at the flow's rate" in words for words in printed)
    assert any("goal on an H100 or H200: ≥ 40×" in words for words in printed)


def test_the_share_of_the_bound_is_what_a_step_reads_over_what_it_could(measured):
    (decoding,) = (row for row in measured[0] if row["step_ms"] is not None)
    assert decoding["bound"] == decoding["copy_bound"] > 0  # a CPU claims nothing
    assert 1e8 < copied_bandwidth("cpu", times=2) < 1e13
    assert claimed_bandwidth("cpu") is None


def test_a_cards_bandwidth_is_that_of_its_clock_and_width_or_else_of_its_data_sheet(monkeypatch):
    card = SimpleNamespace(name="NVIDIA H100 80GB HBM3", memory_clock_rate=2_619_000, memory_bus_width=5120)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    assert claimed_bandwidth("cuda") == pytest.approx(3.352e12, rel=1e-3)
    card.memory_clock_rate = 0
    assert claimed_bandwidth("cuda") == 3.35e12
    card.name = "NVIDIA H200"
    assert claimed_bandwidth("cuda") == 4.8e12
    card.name = "another"
    assert claimed_bandwidth("cuda") is None


def test_the_flow_is_measured_with_all_the_strategies_that_it_has():
    assert set(benchmark.STRATEGIES_OF_REPORTS) == set(STRATEGIES)


def test_the_aims_are_shown_with_whether_they_are_met():
    row = Measurement("nf4", "8", "64", 8, 8, 1.0, 8.0, 512.0, 15.0, 3.57, 41.0)
    flow = replace(row, batch="flow, 1 task", reports_per_second=6.0)
    step = replace(row, batch="256", bound=0.2, copy_bound=0.25, step_ms=40.0)
    assert [(words.split(": ", 1)[0], words.rsplit(" ", 1)[1]) for words in goals([row, flow, step])] == [
        ("nf4, 8 at once, 64 tokens", "met"),
        ("nf4", "missed"),  # 10.4 minutes
        ("nf4, a step of 256 rows", "missed"),
        ("NF4 weights", "met"),
        ("NF4 batch of 8", "met"),
    ]
