import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT
from tests.gpu.check import main


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the check finds of a small checkpoint on a CPU."""
    out = tmp_path_factory.mktemp("out")
    assert main(["--shape", "small", "--device", "cpu", "--out", str(out)]) == 0
    return json.loads((out / "result.json").read_text()), out


def test_every_section_gives_its_figures(found):
    figures, out = found
    assert not [name for name, value in figures.items() if "failed" in name or "skipped" in str(value)]
    names = {name.split(": ", 1)[-1] for name in figures if name.startswith("nf4: ")}
    assert {"load", "one at a time, 4 tokens", "2, 4 tokens", "8, 4 tokens", "8, 4 tokens, and a step",
            "flow, 1 task, as asked tokens"} <= names  # fmt: skip
    assert {"grammar: compile s, without the model", "grammar: free", "grammar: json", "bf16: profile",
            "grammar: ms of a step's masks, 4 rows", "fp32: load", "goals"} <= set(figures)  # fmt: skip
    caches = figures["bf16: 3 rows by cache"]
    assert list(caches) == ["dynamic", "static, compiled, first", "static, compiled, again"]
    assert {each["rows"] for each in caches.values()} == {3}
    assert (out / "profile_bf16.txt").stat().st_size > 1000


def test_what_is_right_on_a_cpu_is_found_right(found):
    figures, _ = found
    errors = figures["attention: relative error by kernel (in bf16 near 0.003)"]
    assert {(error < 0.01, padding) for name, (error, padding) in errors.items() if name.endswith("default")} == {
        (True, "finite")
    }
    assert figures["fp32: first token that differs from one at a time (None is equal)"]["first"] == [None] * 12
    assert figures["fp32: logits beside a longer row, largest gap in standard deviations"]["worst"] < 1e-4


def test_it_needs_nothing_that_a_bare_machine_lacks_and_says_so_where_there_is_no_gpu():
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


def test_what_was_packed_for_another_python_is_refused(tmp_path):
    shutil.copy(CHECKOUT / "tests" / "gpu" / "check.sh", tmp_path)
    (tmp_path / ".gpu").mkdir()
    (tmp_path / ".gpu" / "python_version").write_text("3.99\n")
    words = ["bash", str(tmp_path / "check.sh"), "small", "cpu"]
    settings = {**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path / "out")}
    done = subprocess.run(words, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sys.executable} is Python 3.")
    assert "was packed for 3.99" in done.stderr


def test_all_that_is_packed_is_in_the_lock():
    script = (CHECKOUT / "tests" / "gpu" / "pack.sh").read_text()
    packages = re.search(r"--constraint requirements.txt \\\n(.*?)\n#", script, re.DOTALL)[1].replace("\\", "").split()
    assert {"xgrammar", "bitsandbytes", "transformers"} <= set(packages)
    locked = set(re.findall(r"^([\w.-]+)==", (CHECKOUT / "requirements.txt").read_text(), re.MULTILINE))
    assert set(packages) <= locked
