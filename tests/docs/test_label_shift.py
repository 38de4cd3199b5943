"""The diagnostic of a label shift, on scores of which it is known."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from docs.tools import label_shift, seeds
from docs.tools.label_shift import correct


def drawn(prevalence, count, seed):
    random = np.random.default_rng(seed)
    labels = (random.random(count) < prevalence).astype(np.int64)
    return random.normal(3 * labels - 1, 1.0), labels


@pytest.mark.parametrize("prevalence", [0.2, 0.6, 0.9])
def test_a_changed_prevalence_is_found_where_the_looks_stay(prevalence):
    test, labels = drawn(prevalence, 20_000, 1)
    found = correct(*drawn(0.74, 20_000, 0), test)
    assert found.em == pytest.approx(labels.mean(), abs=0.015)
    assert found.bbse == pytest.approx(labels.mean(), abs=0.015)
    assert found.probabilities.mean() == pytest.approx(labels.mean(), abs=0.015)


def test_em_is_that_of_saerens_image_by_image():
    val, labels = drawn(0.7, 300, 2)
    test, _ = drawn(0.4, 50, 3)
    calibrated = LogisticRegression(C=1e9).fit(val[:, None], labels).predict_proba(test[:, None])[:, 1]
    prior, found = labels.mean(), labels.mean()
    for _ in range(2000):
        new = []
        for probability in calibrated:
            one, other = found / prior * probability, (1 - found) / (1 - prior) * (1 - probability)
            new.append(one / (one + other))
        found = np.mean(new)
    assert correct(val, labels, test).em == pytest.approx(found, abs=1e-6)


def test_the_table_has_a_row_for_each_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "outputs", lambda: tmp_path)
    val, test = drawn(0.7, 300, 4), drawn(0.6, 200, 5)
    file = tmp_path / "store" / "sha256" / "ab" / "abc.npz"
    for folder in (file.parent, seeds.file_of(0).parent):
        folder.mkdir(parents=True)
    np.savez(file, val_logits=val[0], val_labels=val[1], test_logits=test[0], test_labels=test[1])
    seeds.file_of(3).write_text(json.dumps({"outputs": "abc"}))
    found = correct(*val, test[0])
    accuracy = np.mean((found.probabilities >= 0.5) == test[1])
    row = label_shift.diagnose([3]).splitlines()[2]
    assert row.startswith(f"| 3 | {test[1].mean():.3f} | {found.em:.3f} | {found.bbse:.3f} | {accuracy:.3f} |")
