import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR

from models.choices import SCHEDULES
from models.classifier.schedules import COSINE_WARM_UP, ONE_CYCLE_WARM_UP, learning_rate


def rates(schedule, steps=100, peak=2e-3):
    return np.array([learning_rate(schedule, step, steps, peak) for step in range(steps)])


def test_the_form_names_the_warm_up_that_is_computed():
    for name, share in (("one_cycle", ONE_CYCLE_WARM_UP), ("cosine", COSINE_WARM_UP)):
        assert SCHEDULES[name].startswith(f"{100 * share:.0f} % ")


def test_one_cycle_rises_falls_and_ends_near_zero():
    curve = rates("one_cycle")
    assert curve[0] == pytest.approx(2e-3 / 25, rel=0.05)
    assert curve.max() == pytest.approx(2e-3, rel=0.01)
    assert int(np.argmax(curve)) in (29, 30)
    assert curve[-1] < 2e-3 / 1000
    assert (np.diff(curve[:30]) > 0).all()
    assert (np.diff(curve[30:]) < 0).all()


def test_cosine_warms_up_in_a_line_and_falls_along_a_cosine():
    curve = rates("cosine", steps=200)
    np.testing.assert_allclose(curve[:10], 2e-3 * (np.arange(10) + 0.5) / 10)
    assert curve.max() <= 2e-3
    progress = (np.arange(10, 200) + 0.5 - 10) / 190
    np.testing.assert_allclose(curve[10:], 1e-3 * (1 + np.cos(np.pi * progress)), atol=1e-12)
    assert curve[-1] < 2e-3 / 1000


@pytest.mark.parametrize("steps", [4, 100])
def test_step_is_the_multi_step_schedule_of_pytorch(steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    reference, expected = MultiStepLR(optimizer, [steps // 2, steps * 3 // 4], gamma=0.1), []
    for _ in range(steps):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    np.testing.assert_allclose(rates("step", steps), expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_rate_of_a_single_step_is_above_zero(schedule):
    assert 0 < learning_rate(schedule, 0, 1, 1.0) <= 1
