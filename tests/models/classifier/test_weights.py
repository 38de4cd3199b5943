import json
import pickle

import pytest
import safetensors.torch
import torch

from models.choices import ARCHITECTURES, PROBE
from models.classifier.classifiers import build_classifier
from models.classifier.weights import dump, load
from models.errors import InputError

CARD = {
    "architecture": "compact28",
    "classes": 3,
    "channels": 1,
    "normalization": {"mean": [0.5], "std": [0.2]},
    "labels": ["a", "b", "c"],
}


PROBE_CARD = CARD | {"architecture": PROBE}
ENDLESS = {"name": "clip", "model": "a/b", "revision": "1", "dimension": float("inf")}


@pytest.fixture(scope="module")
def model():
    return build_classifier("compact28", classes=3, seed=4)


@pytest.fixture(scope="module")
def payload(model):
    return dump(model, CARD)


def test_weights_and_card_come_back_exactly(model, payload):
    loaded, card = load(payload)
    assert card == CARD
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_bytes_repeat_whatever_the_memory_layout_and_the_order_of_the_card(model, payload):
    assert dump(model, dict(reversed(CARD.items()))) == payload
    twin = build_classifier("compact28", classes=3, seed=4).to(memory_format=torch.channels_last)
    assert dump(twin, CARD) == payload


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


@pytest.mark.parametrize(
    "damage",
    [
        lambda payload: b"",
        lambda payload: payload[:100],
        lambda payload: payload[:-100],
        lambda payload: b"\xff" * 8 + payload[8:],
        lambda payload: pickle.dumps(Evil()),
        lambda payload: safetensors.torch.save({"weight": torch.zeros(3)}),
        lambda payload: safetensors.torch.save({"weight": torch.zeros(3)}, {"card": json.dumps(CARD)}),
        lambda payload: safetensors.torch.save({"weight": torch.zeros(3)}, {"card": "[1]"}),
        lambda payload: safetensors.torch.save({"weight": torch.zeros(3)}, {"card": "{"}),
        lambda payload: safetensors.torch.save(
            {"weight": torch.zeros(3)}, {"card": json.dumps({**CARD, "architecture": "vgg"})}
        ),
        lambda payload: safetensors.torch.save(
            {"weight": torch.zeros(3)}, {"card": json.dumps({**CARD, "classes": "3"})}
        ),
        lambda payload: safetensors.torch.save(
            safetensors.torch.load(payload), {"card": json.dumps({**CARD, "classes": 4})}
        ),
        lambda payload: safetensors.torch.save({}, {"card": '{"architecture": "compact28"}'}),
        lambda payload: safetensors.torch.save({}, {"card": "[" * 100_000}),
        lambda payload: safetensors.torch.save({}, {"card": json.dumps({**CARD, "classes": 10**12})}),
        lambda payload: safetensors.torch.save({}, {"card": json.dumps({**CARD, "channels": 10**9})}),
        lambda payload: safetensors.torch.save({}, {"card": json.dumps({**CARD, "architecture": "x" * 10**6})}),
        lambda payload: (2**40).to_bytes(8, "little") + payload[8:],
        lambda payload: safetensors.torch.save({}, {"card": json.dumps(PROBE_CARD | {"encoder": ENDLESS})}),
    ],
    ids=[
        *("empty", "header", "tail", "length", "pickle", "no card", "tensors", "list", "no JSON"),
        *("architecture", "type", "classes", "no classes", "deep card", "many classes", "many channels"),
        *("long name", "long header", "endless dimension"),
    ],
)
def test_damaged_or_foreign_bytes_are_refused_in_one_sentence(payload, damage):
    with pytest.raises(InputError) as caught:
        load(damage(payload))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"normalization": None}, {"normalization": {"mean": [0.5]}}, {"normalization": {"mean": [0.5], "std": [0]}},
        {"normalization": {"mean": [0.5, 0.5], "std": [0.2, 0.2]}}, {"normalization": {"mean": ["a"], "std": [0.2]}},
        {"normalization": {"mean": ["0.5"], "std": [0.2]}}, {"normalization": {"mean": [0.5], "std": [0.2], "": 1}},
        {"labels": ["a", "b"]}, {"labels": [1, 2, 3]}, {"labels": "abc"}, {"image_size": 0}, {"image_size": "28"},
        {"temperature": 0}, {"temperature": 1e999}, {"threshold": "half"},
    ],
)  # fmt: skip
def test_a_card_whose_numbers_cannot_be_computed_with_is_refused(payload, change):
    with pytest.raises(InputError, match="cannot be read as a classifier"):
        load(safetensors.torch.save(safetensors.torch.load(payload), {"card": json.dumps(CARD | change)}))


def test_a_card_without_a_normalisation_is_refused(payload):
    card = {name: value for name, value in CARD.items() if name != "normalization"}
    with pytest.raises(InputError, match="normalization Field required"):
        load(safetensors.torch.save(safetensors.torch.load(payload), {"card": json.dumps(card)}))


@pytest.mark.parametrize("change", [{"architecture": "resnet18_gray"}, {"classes": 2}, {"channels": None}])
def test_a_card_that_contradicts_the_classifier_is_refused(model, change):
    with pytest.raises(InputError, match=f"{next(iter(change))!r}.*correct the card"):
        dump(model, CARD | change)


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != PROBE])
def test_every_architecture_comes_back_with_its_logits(architecture):
    model = build_classifier(architecture, classes=2, channels=3, seed=1).eval()
    statistics = {"mean": [0.5] * 3, "std": [0.2] * 3}
    card = {"architecture": architecture, "classes": 2, "channels": 3, "normalization": statistics}
    loaded, _ = load(dump(model, card))
    pixels = torch.randn(2, 3, 28, 28)
    assert torch.equal(loaded(pixels), model(pixels))
