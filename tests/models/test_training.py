import json
import logging
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from models.classifiers import build_classifier
from models.errors import InputError
from models.prediction import predict
from models.preprocessing import Normalization
from models.training import TrainingSettings, one_cycle, resolve_device, train

SETTINGS = TrainingSettings(epochs=3, batch_size=24, learning_rate=1e-3, seed=7, device="cpu")


def drawn_images(count, seed):
    """Noise, with a bright square in the middle of two out of three."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 3 > 0).astype(np.int64)
    images = random.integers(0, 120, (count, 16, 16))
    images[:, 5:11, 5:11] += labels[:, None, None] * 100
    return images.astype(np.uint8), labels


TRAIN, VAL = drawn_images(48, 0), drawn_images(30, 1)
NORMALIZATION = Normalization.from_images(TRAIN[0])


def run(settings=SETTINGS, **options):
    return train(*TRAIN, *VAL, NORMALIZATION, settings, **options)


class InMemory:
    def __init__(self, payload=None):
        self.payload = payload
        self.epochs = []

    def save(self, epoch, payload):
        self.epochs.append(epoch)
        self.payload = payload

    def load(self):
        return self.payload


class InterruptionError(Exception):
    pass


def interrupt_after(epoch):
    def on_epoch(metrics):
        if metrics.epoch == epoch:
            raise InterruptionError

    return on_epoch


@pytest.fixture(scope="module")
def undisturbed():
    return run()


@pytest.fixture(scope="module")
def interrupted():
    """The payload of a training that was killed after its second epoch."""
    checkpoints = InMemory()
    with pytest.raises(InterruptionError):
        run(checkpoints=checkpoints, on_epoch=interrupt_after(2))
    assert checkpoints.epochs == [1, 2]
    return checkpoints.payload


def assert_same(first, second):
    assert first.weights.keys() == second.weights.keys()
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name]), name
    assert first.best_epoch == second.best_epoch
    untimed = [[replace(entry, seconds=0, finished_at=0) for entry in part.history] for part in (first, second)]
    assert untimed[0] == untimed[1]


def test_a_resumed_training_ends_with_the_same_bits(undisturbed, interrupted):
    checkpoints, seen = InMemory(interrupted), []
    resumed = run(checkpoints=checkpoints, on_epoch=lambda metrics: seen.append(metrics.epoch))
    assert seen == [3], "only the missing epoch is trained"
    assert_same(resumed, undisturbed)
    assert_same(run(checkpoints=InMemory(checkpoints.payload), on_epoch=interrupt_after(3)), undisturbed)


def test_a_best_epoch_before_the_interruption_is_kept():
    # With the wrong labels for validation, every epoch that learns makes it worse.
    def misled(**options):
        return train(*TRAIN, VAL[0], 1 - VAL[1], NORMALIZATION, SETTINGS, **options)

    whole = misled()
    assert whole.best_epoch == 1
    checkpoints = InMemory()
    with pytest.raises(InterruptionError):
        misled(checkpoints=checkpoints, on_epoch=interrupt_after(2))
    assert_same(misled(checkpoints=checkpoints), whole)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "history", "tensor", "metadata"])
def test_a_damaged_checkpoint_is_ignored_with_a_warning(undisturbed, interrupted, damage, caplog):
    length = struct.unpack("<Q", interrupted[:8])[0]
    header = json.loads(interrupted[8 : 8 + length])
    if damage == "history":
        header["__metadata__"]["history"] = "[{}]"
    elif damage == "tensor":
        header["model.other"] = header.pop("model.head.weight")
    elif damage == "metadata":
        del header["__metadata__"]
    text = json.dumps(header).encode()
    payload = {"truncated": interrupted[:-50], "garbage": b"not a checkpoint"}.get(
        damage, struct.pack("<Q", len(text)) + text + interrupted[8 + length :]
    )
    seen = []

    def stop(metrics):
        seen.append(metrics)
        raise InterruptionError

    with caplog.at_level(logging.WARNING), pytest.raises(InterruptionError):
        run(checkpoints=InMemory(payload), on_epoch=stop)
    assert "starts from the beginning" in caplog.text
    first = undisturbed.history[0]
    assert (seen[0].epoch, seen[0].train_loss, seen[0].val_loss) == (1, first.train_loss, first.val_loss)


def test_a_checkpoint_of_other_settings_or_data_is_ignored_with_a_warning(interrupted, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(InterruptionError):
        run(replace(SETTINGS, epochs=4), checkpoints=InMemory(interrupted), on_epoch=interrupt_after(1))
    assert "other settings or data" in caplog.text


def test_the_checkpoint_holds_no_pickle_and_repeats(interrupted):
    checkpoints = InMemory()
    with pytest.raises(InterruptionError):
        run(checkpoints=checkpoints, on_epoch=interrupt_after(2))
    length = struct.unpack("<Q", interrupted[:8])[0]
    assert checkpoints.payload[8 + len(checkpoints.payload) - len(interrupted) + length :] == interrupted[8 + length :]
    assert {entry["dtype"] for name, entry in json.loads(interrupted[8 : 8 + length]).items() if name[0] != "_"} <= {
        "F32",
        "I64",
    }


def test_the_history_tells_what_the_returned_weights_score(undisturbed):
    best = undisturbed.history[undisturbed.best_epoch - 1]
    assert best.val_loss == min(entry.val_loss for entry in undisturbed.history)
    model = build_classifier("resnet18_gray")
    model.load_state_dict(undisturbed.weights)
    logits = predict(model, VAL[0], NORMALIZATION, flip=False).logits.astype(np.float64)
    assert best.val_auc == pytest.approx(roc_auc_score(VAL[1], logits))
    losses = np.where(VAL[1] == 1, np.log1p(np.exp(-logits)), np.log1p(np.exp(logits)))
    assert best.val_loss == pytest.approx((losses[VAL[1] == 0].mean() + losses[VAL[1] == 1].mean()) / 2, rel=1e-4)
    assert [entry.epoch for entry in undisturbed.history] == [1, 2, 3]
    assert all(entry.seconds > 0 and entry.finished_at > 1.6e12 for entry in undisturbed.history)


def test_it_learns_and_the_seed_matters(undisturbed):
    result = run(replace(SETTINGS, epochs=6))
    assert max(entry.val_auc for entry in result.history) > 0.95
    other = run(replace(SETTINGS, seed=8))
    assert not torch.equal(other.weights["head.weight"], undisturbed.weights["head.weight"])


def test_no_global_state_is_left_behind():
    torch.manual_seed(1)
    random_state = torch.random.get_rng_state()
    run(replace(SETTINGS, epochs=1))
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert not torch.backends.cudnn.deterministic


def test_the_schedule_rises_falls_and_ends_near_zero():
    rates = [one_cycle(step, 100, 2e-3) for step in range(100)]
    assert rates[0] == pytest.approx(2e-3 / 25, rel=0.05)
    assert max(rates) == pytest.approx(2e-3, rel=0.01)
    assert int(np.argmax(rates)) in (29, 30)
    assert rates[-1] < 2e-3 / 1000
    assert (np.diff(rates[:30]) > 0).all()
    assert (np.diff(rates[30:]) < 0).all()


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}])
def test_settings_that_make_no_training_are_refused(change):
    with pytest.raises(InputError, match="change the training settings"):
        run(replace(SETTINGS, **change))


def test_one_class_and_divergence_are_refused():
    with pytest.raises(InputError, match="validation labels"):
        train(*TRAIN, VAL[0], np.ones_like(VAL[1]), NORMALIZATION, SETTINGS)
    with pytest.raises(InputError, match="diverged"):
        run(replace(SETTINGS, learning_rate=1e30))


def test_cuda_is_refused_where_there_is_none():
    if torch.cuda.is_available():
        assert resolve_device("auto").type == "cuda"
        return
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(InputError, match="no CUDA device"):
        resolve_device("cuda")
