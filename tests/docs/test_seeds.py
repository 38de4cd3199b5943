"""The tool that scores the seeds of a frozen protocol, once each."""

import json

import numpy as np
import pytest

from docs.tools import seeds
from models.errors import InputError
from tasks.data.steps import locate_source, prepare_dataset
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.training import TrainingParameters

EVALUATION = EvaluationParameters(threshold_rule="fixed", bootstrap_samples=50)
RETRIEVAL = RetrievalParameters(encoders=["classifier"], bootstrap_samples=50)


def training(seed, **fields):
    return TrainingParameters(architecture="compact28", epochs=1, batch_size=16, seed=seed, **fields)


@pytest.fixture(scope="module")
def data():
    return prepare_dataset.fn(locate_source(DatasetParameters(phantoms=True)), 64)


def test_each_seed_is_scored_once_and_all_stand_in_one_table(data, tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "outputs", lambda: tmp_path)
    for seed in (3, 4):
        seeds.score(data, training(seed), EVALUATION, RETRIEVAL)
    first, second = (json.loads(seeds.file_of(seed).read_bytes()) for seed in (3, 4))
    assert 0.5 < first["metrics"]["test/auc"] <= 1
    assert first["metrics"]["test/auc"] != second["metrics"]["test/auc"]
    assert 0 < first["retrieval"]["classifier"]["gallery/map"] <= 1

    def refuse(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(seeds, "score_seed", refuse)
    seeds.score(data, training(3), EVALUATION, RETRIEVAL)
    with pytest.raises(InputError, match="made with other settings"):
        seeds.score(data, training(3, mixup=0.5), EVALUATION, RETRIEVAL)

    written = seeds.main(["3", "4", "5", "--table"])
    values = [each["metrics"]["test/auc"] for each in (first, second)]
    assert written.startswith("Seeds 3, 4;")
    assert f"| test/auc | {np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} |" in written
    maps = [each["retrieval"]["classifier"]["loo/map"] for each in (first, second)]
    assert f"| map | {np.mean(maps):.4f} ± {np.std(maps, ddof=1):.4f} |" in written
    assert "| fixed at .5 beforehand | 0.5000 ± 0.0000 |" in written


def test_a_table_of_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "outputs", lambda: tmp_path)
    with pytest.raises(InputError, match="None of the seeds"):
        seeds.main(["3", "--table"])
