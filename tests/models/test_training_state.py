import numpy as np
import pytest
import safetensors.torch
import torch

from models.classifiers import build_classifier
from models.training_state import EpochMetrics, TrainingState


def new_state(ema_decay=0.3):
    model = build_classifier("compact28").to(memory_format=torch.channels_last)
    return TrainingState(model, weight_decay=0.1, ema_decay=ema_decay)


def metrics(epoch, val_loss):
    return EpochMetrics(epoch, 0.5, val_loss, 0.9, 1e-3, 1.0, 1)


def images():
    return torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def train_steps(state, count):
    for _ in range(count):
        state.step(state.model(images()).square().mean(), 1e-2)


def test_a_step_is_adamw_of_pytorch_at_the_given_rate():
    state, reference = new_state(), build_classifier("compact28")
    train_steps(state, 3)
    optimizer = torch.optim.AdamW(reference.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        reference(images()).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(state.model.head.weight, reference.head.weight, atol=1e-3, rtol=0)


@pytest.mark.parametrize("decay", [0.3, 0.995])
def test_the_average_moves_with_a_memory_that_grows_to_its_decay(decay):
    state, expected = new_state(decay), None
    for step in range(6):
        train_steps(state, 1)
        current = {name: tensor.double().clone() for name, tensor in state.model.state_dict().items()}
        if expected is None:
            expected = current
            continue
        share = 1 - min(decay, (1 + step) / (10 + step))
        for name, tensor in current.items():
            whole = name.endswith("num_batches_tracked")
            expected[name] = tensor if whole else (1 - share) * expected[name] + share * tensor
    averaged = state.average.module.state_dict()
    for name, tensor in expected.items():
        np.testing.assert_allclose(averaged[name].double().numpy(), tensor.numpy(), rtol=1e-4, atol=1e-6)


def test_the_best_epoch_has_the_lowest_loss_and_the_first_of_equals():
    state, kept = new_state(), {}
    for epoch, loss in enumerate([0.5, 0.3, 0.4, 0.3], start=1):
        train_steps(state, 1)
        state.record(metrics(epoch, loss))
        kept[epoch] = state.average.module.head.weight.clone()
    assert state.best_epoch == 2
    assert torch.equal(state.best["head.weight"], kept[2])
    assert not torch.equal(kept[4], kept[2])


def test_a_state_comes_back_whole_and_only_to_its_own_training(caplog):
    state = new_state()
    for epoch, loss in ((1, 0.3), (2, 0.4)):
        train_steps(state, 2)
        state.record(metrics(epoch, loss))
    payload, other = state.dump("this"), new_state()
    assert not other.restore(payload, "that")
    assert "other settings or data" in caplog.text
    assert not other.history

    assert other.restore(payload, "this")
    assert (other.history, other.best_epoch) == (state.history, 1)
    for restored in (state, other):
        train_steps(restored, 1)
    first, second = (safetensors.torch.load(restored.dump("this")) for restored in (state, other))
    assert first.keys() == second.keys()
    for name, tensor in first.items():  # the moments of AdamW and the average too
        assert torch.equal(tensor, second[name]), name
