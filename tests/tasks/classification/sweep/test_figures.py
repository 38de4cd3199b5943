import io

import numpy as np
import pytest
from PIL import Image

from tasks.classification.sweep.figures import parallel_coordinates
from tasks.classification.sweep.leaderboard import CRITERION, METRICS, TrialResult, leaderboard
from tests.support.figures import PHANTOMS, REAL, drawn_by, letters_of, require_legible


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


def test_what_was_pruned_is_drawn_up_to_the_scores_and_many_numbers_on_a_scale():
    results = [
        TrialResult({"learning_rate": 10.0**-at}, 0, "run", dict.fromkeys(METRICS, 0.9) | {CRITERION: 0.1 * at})
        for at in range(1, 9)
    ]
    behind = TrialResult({"learning_rate": 1e-9}, 0, "run", {}, curve=[1.0], pruned=True)

    def draw():
        parallel_coordinates(leaderboard([*results, behind]), [*results, behind], source=REAL)

    require_legible(draw)
    (figure,) = drawn_by(draw)
    (axis,) = figure.axes
    ended = [line for line in axis.lines if line.get_label() == "pruned"]
    assert [line.get_ydata().tolist() for line in ended] == [[0.0]]
    best = next(line for line in axis.lines if line.get_label() == "rank 1 on validation")
    assert len(best.get_ydata()) == 5  # the setting and four scores
    assert best.get_ydata()[0] == pytest.approx(1.0)
    assert {"0.1", "1e-09"} <= set(letters_of(figure))
