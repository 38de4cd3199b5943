import json
import subprocess
import sys

from models.report_generation.medgemma.benchmark import PROMPTS, main
from tests.conftest import CHECKOUT


def test_every_batch_size_is_measured_beside_one_at_a_time(tmp_path, small_checkpoint, capsys):
    output = tmp_path / "rows.json"
    words = [
        "--device", "cpu", "--precisions", "fp32", "--batches", "1,8,best", "--images", "2", "--tokens", "4",
        "--singly", "6", "--checkpoint", str(small_checkpoint), "--output", str(output),
    ]  # fmt: skip
    assert main(words) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [row["batch"] for row in rows] == ["one at a time", "1", "8", "best"]
    assert [row["largest"] for row in rows] == [1, 1, 8, 2 * len(PROMPTS)]
    for row in rows:
        assert row["reports_per_second"] > 0
        assert row["tokens_per_second"] == row["reports_per_second"] * 4
        assert row["ratio"] == row["reports_per_second"] / rows[0]["reports_per_second"]
    assert "goal on an H200" in capsys.readouterr().out


def test_it_needs_nothing_that_a_bare_gpu_machine_lacks():
    code = (
        "import sys; sys.modules |= dict.fromkeys(['pydantic', 'xgrammar', 'prefect', 'mlflow', 'medmnist', 'faiss']);"
        "import models.report_generation.medgemma.benchmark"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
