import os
import subprocess
import sys

import numpy as np
import pytest

from tasks.retrieval.metrics.ranking import evaluate
from tests.conftest import CHECKOUT
from tests.traps.checks import TrapError, require_epoch_from_validation, require_no_self_match


@pytest.fixture(scope="module")
def embeddings():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 120)
    vectors = generator.normal(size=(120, 8)) + labels[:, None]
    vectors[7] = vectors[3]  # two images that are the same
    return vectors, labels


def precision(vectors, labels, k):
    ids = np.arange(len(labels))
    return evaluate(vectors, labels, vectors, labels, ids, ids, [k]).mean(f"precision_at_{k}")


@pytest.mark.parametrize("k", [1, 5])
def test_figures_of_this_project_pass(embeddings, k):
    require_no_self_match(*embeddings, {k: precision(*embeddings, k)})


def test_an_image_as_its_own_neighbour_is_told(embeddings):
    vectors, labels = embeddings
    with pytest.raises(TrapError, match=r"precision@1 = 1\.0000 counts each image as its own neighbour"):
        require_no_self_match(vectors, labels, {1: 1.0})
    with_itself = (1 + 4 * precision(vectors, labels, 4)) / 5
    with pytest.raises(TrapError, match="precision@5"):
        require_no_self_match(vectors, labels, {5: with_itself})


def test_a_figure_from_elsewhere_is_no_trap_but_wrong(embeddings):
    with pytest.raises(AssertionError, match=r"0\.1234 was claimed") as raised:
        require_no_self_match(*embeddings, {1: 0.1234})
    assert not isinstance(raised.value, TrapError)


def test_the_best_epoch_on_test_is_told():
    validation, test = [0.90, 0.99, 0.98], [0.95, 0.96, 0.98]
    require_epoch_from_validation(validation, test, 0.96)
    with pytest.raises(TrapError, match=r"0\.9800 is the best epoch on test; .* has 0\.9600"):
        require_epoch_from_validation(validation, test, 0.98)
    with pytest.raises(AssertionError, match=r"0\.5000 was claimed"):
        require_epoch_from_validation(validation, test, 0.5)


def test_ones_own_files_are_looked_at(embeddings, tmp_path):
    vectors, labels = embeddings
    np.savez(tmp_path / "embeddings.npz", vectors=vectors, labels=labels)
    (tmp_path / "epochs.csv").write_text("epoch,validation,test\n1,0.9,0.95\n2,0.99,0.96\n3,0.98,0.98\n")
    files = {"RETRIEVAL": str(tmp_path / "embeddings.npz"), "EPOCHS": str(tmp_path / "epochs.csv")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/traps/test_own_results.py"]

    def run(**claims):
        settings = {**os.environ, **files, **claims}
        return subprocess.run(command, cwd=CHECKOUT, env=settings, capture_output=True, text=True)

    honest = run(PRECISION=f"1:{precision(vectors, labels, 1)}", CLAIMED="0.96")
    assert honest.returncode == 0, honest.stdout
    trapped = run(PRECISION="1:1.0", CLAIMED="0.98")
    assert trapped.returncode == 1
    assert "2 failed" in trapped.stdout
