import json
import os
import subprocess
import sys

from tests.benchmarks.medgemma import PROMPTS, main
from tests.conftest import CHECKOUT
from tests.support.medgemma_twin import write_checkpoint


def test_every_batch_size_is_measured_beside_one_at_a_time(tmp_path, capsys):
    output = tmp_path / "rows.json"
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    words = [
        "--device", "cpu", "--precisions", "fp32", "--batches", "1,8,best", "--images", "2", "--tokens", "2",
        "--singly", "2", "--checkpoint", str(checkpoint), "--output", str(output),
    ]  # fmt: skip
    assert main(words) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [row["batch"] for row in rows] == ["one at a time", "1", "8", "best"]
    assert [row["largest"] for row in rows] == [1, 1, 8, 2 * len(PROMPTS)]
    for row in rows:
        assert row["reports_per_second"] > 0
        assert row["tokens_per_second"] == row["reports_per_second"] * 2
        assert row["ratio"] == row["reports_per_second"] / rows[0]["reports_per_second"]
    assert "goal on an H200" in capsys.readouterr().out


def test_the_check_on_a_gpu_needs_nothing_that_a_bare_machine_lacks_and_says_so_where_there_is_no_gpu():
    missing = ["pydantic", "xgrammar", "prefect", "mlflow", "medmnist", "faiss"]
    code = (
        f"import runpy, sys; sys.modules |= dict.fromkeys({missing});"
        "runpy.run_module('tests.gpu.check', run_name='__main__', alter_sys=True)"
    )
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, env=hidden, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: There is no GPU that PyTorch can use on this machine")
