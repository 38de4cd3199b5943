import io

import numpy as np
import pytest
from PIL import Image

from tasks.classification.sweep.figures import parallel_coordinates
from tasks.classification.sweep.leaderboard import CRITERION, METRICS, TrialResult, leaderboard
from tests.support.figures import PHANTOMS, REAL


def _results(best="focal", settings=("bce", "focal"), failed=False):
    results = [
        TrialResult(
            {"loss": loss, "learning_rate": rate},
            seed,
            "run",
            dict.fromkeys(METRICS, 0.9 + 0.01 * seed) | {CRITERION: 0.1 + (loss != best) + rate + 0.01 * seed},
        )
        for loss in settings
        for rate in (0.001, 0.002)
        for seed in (0, 1)
    ]
    return results + [TrialResult({"loss": "x", "learning_rate": 0.1}, 0, "failed", {}, error="no")] * failed


def _picture(results, source=REAL):
    return np.asarray(Image.open(io.BytesIO(parallel_coordinates(leaderboard(results), results, source=source))))


def test_the_figure_depends_on_the_scores_and_repeats():
    assert np.array_equal(_picture(_results()), _picture(_results()))
    assert not np.array_equal(_picture(_results("focal")), _picture(_results("bce")))


def test_a_failed_combination_is_left_out():
    assert np.array_equal(_picture(_results(failed=True)), _picture(_results()))


@pytest.mark.parametrize("count", [1, 3])
def test_a_sweep_over_seeds_alone_has_a_figure(count):
    results = [TrialResult({}, seed, "run", dict.fromkeys(METRICS, 0.9)) for seed in range(count)]
    assert _picture(results).std() > 0


def test_phantoms_are_said():
    assert not np.array_equal(_picture(_results()), _picture(_results(), source=PHANTOMS))
