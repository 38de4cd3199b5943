import dataclasses
import functools
import json
import logging
import struct

import numpy as np
import pytest
import safetensors.torch
import torch
from medmnist.evaluator import getAUC
from sklearn.metrics import roc_auc_score

from models.classifier.classifiers import Classifier, build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.classifier.schedules import learning_rate
from models.classifier.training import train
from models.classifier.training_settings import TrainingSettings
from models.errors import InputError

SETTINGS = TrainingSettings(architecture="compact28", epochs=3, batch_size=24, learning_rate=1e-3, seed=7)


def drawn_images(count, seed):
    """Noise, with a bright square in the middle of two out of three."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 3 > 0).astype(np.int64)
    images = random.integers(0, 120, (count, 16, 16))
    images[:, 5:11, 5:11] += labels[:, None, None] * 100
    return images.astype(np.uint8), labels


def colour_images(count, seed):
    """Noise, with a square in one of the three colours."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = random.integers(0, 120, (count, 16, 16, 3))
    images[np.arange(count), 5:11, 5:11, labels] += 100
    return images.astype(np.uint8), labels


TRAIN, VAL = drawn_images(48, 0), drawn_images(30, 1)
NORMALIZATION = Normalization.from_images(TRAIN[0])
COLOUR_TRAIN, COLOUR_VAL = colour_images(48, 2), [part[5:] for part in colour_images(30, 3)]


def changed(settings=SETTINGS, **fields):
    return settings.model_copy(update=fields)


COLOUR_SETTINGS = changed(loss="balanced_cross_entropy")


def run(settings=SETTINGS, device="cpu", **options):
    return train(*TRAIN, *VAL, NORMALIZATION, settings, device=device, **options)


def run_colour(settings=COLOUR_SETTINGS, **options):
    normalization = Normalization.from_images(COLOUR_TRAIN[0])
    return train(*COLOUR_TRAIN, *COLOUR_VAL, normalization, settings, classes=3, device="cpu", **options)


def misled(settings, **options):
    """Train with the wrong labels for validation: every epoch that learns makes it worse."""
    return train(*TRAIN, VAL[0], 1 - VAL[1], NORMALIZATION, settings, device="cpu", **options)


class InMemory:
    """Checkpoints that start from one or none, and keep all that are saved."""

    def __init__(self, *payloads):
        self.payloads = list(payloads)

    def save(self, epoch, payload):
        self.payloads.append(payload)

    def load(self):
        return self.payloads[-1] if self.payloads else None


class InterruptionError(Exception):
    pass


def interrupt_after(epoch):
    def on_epoch(metrics):
        if metrics.epoch == epoch:
            raise InterruptionError

    return on_epoch


@pytest.fixture(scope="module")
def checkpoints():
    """All checkpoints of a training."""
    return InMemory()


@pytest.fixture(scope="module")
def undisturbed(checkpoints):
    return run(checkpoints=checkpoints)


@pytest.fixture(scope="module")
def interrupted():
    """The payload of a training that was killed after its second epoch."""
    checkpoints = InMemory()
    with pytest.raises(InterruptionError):
        run(checkpoints=checkpoints, on_epoch=interrupt_after(2))
    assert len(checkpoints.payloads) == 2
    return checkpoints.load()


def untimed(history):
    return [dataclasses.replace(entry, seconds=0, finished_at=0) for entry in history]


def assert_same(first, second):
    assert first.weights.keys() == second.weights.keys()
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name]), name
    assert first.best_epoch == second.best_epoch
    assert untimed(first.history) == untimed(second.history)


def test_a_resumed_training_ends_with_the_same_bits(undisturbed, interrupted):
    checkpoints, seen = InMemory(interrupted), []
    resumed = run(checkpoints=checkpoints, on_epoch=lambda metrics: seen.append(metrics.epoch))
    assert seen == [3], "only the missing epoch is trained"
    assert_same(resumed, undisturbed)
    assert_same(run(checkpoints=InMemory(checkpoints.load()), on_epoch=interrupt_after(3)), undisturbed)


def assert_resumes(training, settings, epoch=1):
    """A training from a checkpoint ends like the whole one, whose checkpoints are those of an interrupted one."""
    checkpoints = InMemory()
    whole = training(settings, checkpoints=checkpoints)
    assert_same(training(settings, checkpoints=InMemory(checkpoints.payloads[epoch - 1])), whole)
    return whole


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "resnet18_gray"},
        {"architecture": "efficientnet_b0"},
        {"schedule": "cosine", "mixup": 0.4, "loss": "focal"},
        {"schedule": "step", "augmentation": "strong", "precision": "bf16"},
        {"architecture": "ensemble28", "augmentation": "diverse", "mixup": 0.4},
    ],
    ids=str,
)
def test_every_way_of_training_resumes_with_the_same_bits(change):
    assert_resumes(run, changed(epochs=2, **change))


def test_three_classes_in_colour_resume_with_the_same_bits():
    assert_resumes(run_colour, changed(COLOUR_SETTINGS, mixup=0.4), epoch=2)


def test_every_branch_sees_the_same_unless_the_augmentation_is_diverse(monkeypatch):
    seen, branch_logits = [], Classifier.branch_logits

    def watched(model, images):
        seen.append(images.unflatten(1, (-1, 3)))
        return branch_logits(model, images)

    monkeypatch.setattr(Classifier, "branch_logits", watched)
    ensemble = changed(COLOUR_SETTINGS, architecture="ensemble28", epochs=1, augmentation="standard")
    run_colour(ensemble)
    run_colour(changed(ensemble, augmentation="diverse"))
    run_colour(changed(ensemble, augmentation="diverse", architecture="compact28"))
    assert [tuple(views.shape) for views in seen] == [(24, count, 3, 16, 16) for count in (1, 1, 4, 4, 1, 1)]
    first, diverse = seen[0], seen[2]
    assert torch.equal(first[:, 0], diverse[:, 0])  # `standard`, with the same draws
    assert all(not torch.equal(diverse[:, 0], diverse[:, other]) for other in range(1, 4))
    assert torch.equal(seen[4], seen[0])


def test_a_best_epoch_before_the_interruption_is_kept():
    whole = assert_resumes(misled, SETTINGS, epoch=2)
    assert whole.best_epoch == 1
    assert (len(whole.history), whole.stopped_early) == (3, False), "without patience every epoch is trained"


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
        run(changed(epochs=4), checkpoints=InMemory(interrupted), on_epoch=interrupt_after(1))
    assert "other settings or data" in caplog.text


def test_the_checkpoint_holds_no_pickle_and_repeats(undisturbed, checkpoints, interrupted):
    length, again = struct.unpack("<Q", interrupted[:8])[0], checkpoints.payloads[1]
    assert again[8 + len(again) - len(interrupted) + length :] == interrupted[8 + length :]
    assert {entry["dtype"] for name, entry in json.loads(interrupted[8 : 8 + length]).items() if name[0] != "_"} <= {
        "F32",
        "I64",
    }


def test_the_history_tells_what_the_returned_weights_score(undisturbed):
    best = undisturbed.history[undisturbed.best_epoch - 1]
    assert best.val_loss == min(entry.val_loss for entry in undisturbed.history)
    model = build_classifier("compact28")
    model.load_state_dict(undisturbed.weights)
    logits = predict(model, VAL[0], NORMALIZATION, flip=False).logits.astype(np.float64)
    assert best.val_auc == pytest.approx(roc_auc_score(VAL[1], logits))
    losses = np.where(VAL[1] == 1, np.log1p(np.exp(-logits)), np.log1p(np.exp(logits)))
    assert best.val_loss == pytest.approx((losses[VAL[1] == 0].mean() + losses[VAL[1] == 1].mean()) / 2, rel=1e-4)
    assert [entry.epoch for entry in undisturbed.history] == [1, 2, 3]
    assert all(entry.seconds > 0 and entry.finished_at > 1.6e12 for entry in undisturbed.history)


def test_it_learns_and_the_seed_matters(undisturbed):
    result = run(changed(epochs=6))
    assert max(entry.val_auc for entry in result.history) > 0.95
    other = run(changed(seed=8))
    assert not torch.equal(other.weights["head.weight"], undisturbed.weights["head.weight"])


def test_no_global_state_is_left_behind():
    torch.manual_seed(1)
    random_state = torch.random.get_rng_state()
    run(changed(epochs=1))
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert not torch.backends.cudnn.deterministic


def test_three_classes_in_colour_are_learned_and_scored_as_medmnist_does():
    result = run_colour(changed(COLOUR_SETTINGS, epochs=8))
    best = result.history[result.best_epoch - 1]
    assert best.val_auc > 0.95
    model = build_classifier("compact28", classes=3, channels=3)
    model.load_state_dict(result.weights)
    normalization = Normalization.from_images(COLOUR_TRAIN[0])
    logits = predict(model, COLOUR_VAL[0], normalization, flip=False).logits.astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = COLOUR_VAL[1]
    assert len(set(np.bincount(labels))) > 1, "classes of unequal size"
    assert best.val_auc == pytest.approx(getAUC(labels, probabilities, "multi-class"))
    per_class = [-np.log(probabilities[labels == index, index]).mean() for index in range(3)]
    assert best.val_loss == pytest.approx(np.mean(per_class), rel=1e-4)


def test_patience_ends_the_training_and_a_resumed_one_ends_there_too():
    settings = changed(epochs=9, patience=2)
    checkpoints = InMemory()
    whole = misled(settings, checkpoints=checkpoints)
    assert whole.stopped_early
    losses = [entry.val_loss for entry in whole.history]
    assert len(losses) == whole.best_epoch + 2 < 9
    assert losses[whole.best_epoch - 1] == min(losses)

    finished = misled(settings, checkpoints=checkpoints, on_epoch=lambda metrics: pytest.fail("an epoch too many"))
    assert_same(finished, whole)
    assert_same(misled(settings, checkpoints=InMemory(checkpoints.payloads[0])), whole)


def test_the_schedule_decides_the_last_rate_of_an_epoch(undisturbed):
    assert [entry.learning_rate for entry in undisturbed.history] == pytest.approx(
        [learning_rate("one_cycle", step, 6, 1e-3) for step in (1, 3, 5)]
    )
    stepped = run(changed(epochs=2, schedule="step"))
    assert [entry.learning_rate for entry in stepped.history] == pytest.approx([1e-3, 1e-5])


def test_bf16_trains_nearly_the_same(undisturbed):
    settings = changed(epochs=1)
    low = run(changed(settings, precision="bf16")).history[0]
    assert low.train_loss != undisturbed.history[0].train_loss
    exact = run(settings).history[0]
    assert low.train_loss == pytest.approx(exact.train_loss, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_compiled_training_on_a_gpu_resumes_with_the_same_bits():
    on_gpu = functools.partial(run, device="cuda")
    settings = changed(epochs=2, compile=True)
    compiled, exact = assert_resumes(on_gpu, settings), on_gpu(changed(settings, compile=False, precision="fp32"))
    assert compiled.history[0].train_loss == pytest.approx(exact.history[0].train_loss, rel=0.05)


def test_training_starts_from_the_weights_of_a_file_and_the_file_counts(tmp_path, undisturbed):
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(undisturbed.weights, file)
    settings = changed(epochs=1, pretrained=str(file))
    checkpoints = InMemory()
    tuned = run(settings, checkpoints=checkpoints)
    assert tuned.history[0].train_loss < run(changed(settings, pretrained=None)).history[0].train_loss

    moved = tmp_path / "moved.safetensors"
    file.rename(moved)
    epochs = []
    run(changed(settings, pretrained=str(moved)), checkpoints=checkpoints, on_epoch=epochs.append)
    assert not epochs, "the same weights elsewhere are the same training"
    weights = {name: tensor * 1.01 if "stem" in name else tensor for name, tensor in undisturbed.weights.items()}
    safetensors.torch.save_file(weights, moved)
    run(changed(settings, pretrained=str(moved)), checkpoints=checkpoints, on_epoch=epochs.append)
    assert len(epochs) == 1


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(InputError, match="batch_size 49 is larger than the training split of 48 images"):
        run(changed(batch_size=49))


def test_a_loss_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        run_colour(changed(COLOUR_SETTINGS, loss="bce"))


def test_one_class_and_divergence_are_refused():
    with pytest.raises(InputError, match="validation labels"):
        train(*TRAIN, VAL[0], np.ones_like(VAL[1]), NORMALIZATION, SETTINGS)
    with pytest.raises(InputError, match="diverged"):
        run(changed(learning_rate=1e30))
    assert not torch.backends.cudnn.deterministic, "the flags are restored after an error, too"
    with pytest.raises(InputError, match="every class from 0 to 3"):
        train(*COLOUR_TRAIN, *COLOUR_VAL, Normalization.from_images(COLOUR_TRAIN[0]), COLOUR_SETTINGS, classes=4)


def test_a_training_above_the_bar_of_its_epoch_ends_and_the_bar_of_the_last_epoch_ends_none(undisturbed):
    pruned = run(bars=(None, 0.0, None))
    assert (len(pruned.history), pruned.pruned, pruned.stopped_early) == (2, True, False)
    assert [epoch.val_loss for epoch in pruned.history] == [epoch.val_loss for epoch in undisturbed.history[:2]]
    lowest = min(epoch.val_loss for epoch in undisturbed.history)
    whole = run(bars=(9.0, lowest + 9, 0.0))
    assert (len(whole.history), whole.pruned, whole.best_epoch) == (3, False, undisturbed.best_epoch)


def test_a_training_that_was_killed_before_it_was_pruned_is_pruned_as_it_resumes(interrupted):
    told = []
    resumed = run(checkpoints=InMemory(interrupted), on_epoch=told.append, bars=(None, 0.0))
    assert (len(resumed.history), resumed.pruned, told) == (2, True, [])
