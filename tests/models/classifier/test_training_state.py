import numpy as np
import pytest
import safetensors.torch
import torch

from models.classifier.classifiers import build_classifier
from models.classifier.epoch_metrics import EpochMetrics
from models.classifier.training_state import TrainingState
from models.safetensors_metadata import read_metadata


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


def other_shapes(tensors):
    return {
        name: tensor[:1] if name.startswith("optimizer.") and tensor.ndim else tensor
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        other_shapes,  # the fused optimiser would read beyond the ends of these
        lambda tensors: tensors | {"optimizer.999.step": torch.tensor(1.0)},
        lambda tensors: tensors | {"optimizer.0.step.more": torch.tensor(1.0)},
        lambda tensors: tensors | {"optimizer.0.step": torch.zeros(0)},
        lambda tensors: tensors | {"optimizer.0.exp_avg": tensors["optimizer.0.exp_avg"].double()},
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "optimizer.0.exp_avg"},
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "best.head.weight"},
        lambda tensors: tensors | {"best.head.weight": torch.zeros(5)},
        lambda tensors: tensors | {"average.n_averaged": torch.zeros(3, dtype=torch.int64)},
    ],
)
def test_a_state_of_other_tensors_is_not_taken_up(change, caplog):
    state = new_state()
    for epoch, loss in ((1, 0.3), (2, 0.4)):
        train_steps(state, 1)
        state.record(metrics(epoch, loss))
    payload = state.dump("this")
    assert new_state().restore(payload, "this")
    changed = {name: tensor.contiguous() for name, tensor in change(safetensors.torch.load(payload)).items()}
    assert not new_state().restore(safetensors.torch.save(changed, read_metadata(payload)), "this")
    assert "The checkpoint is damaged" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"history": "["},
        {"history": "5"},
        {"history": "[" * 100_000},
        {"history": "[]"},
        {"history": '[{"epoch": 2}]'},
        {"best_epoch": "0"},
        {"best_epoch": "3"},
        {"best_epoch": "x" * 10_000},
    ],
)
def test_a_state_of_another_history_is_not_taken_up(change):
    state = new_state()
    train_steps(state, 1)
    state.record(metrics(1, 0.3))
    payload = state.dump("this")
    changed = safetensors.torch.save(safetensors.torch.load(payload), read_metadata(payload) | change)
    assert not new_state().restore(changed, "this")


def test_a_state_with_random_damage_is_taken_up_or_not_and_training_goes_on():
    state = new_state()
    train_steps(state, 1)
    state.record(metrics(1, 0.3))
    good, generator, refused = state.dump("this"), np.random.default_rng(0), 0
    length = int.from_bytes(good[:8], "little")
    for _ in range(60):
        damaged = bytearray(good)
        for place in generator.integers(0, length, size=generator.integers(1, 4)):
            damaged[place] = generator.integers(256)
        other = new_state()
        if other.restore(bytes(damaged), "this"):
            train_steps(other, 1)
        else:
            refused += 1
    assert refused > 30
