import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from tasks.shared.holm import holm


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_it_agrees_with_statsmodels(count):
    p_values = (np.random.default_rng(count).random(count) ** 2).round(2)  # some are equal
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_by_hand():
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])  # .01 × 3, .03 × 2, .04 × 1 does not fall
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
