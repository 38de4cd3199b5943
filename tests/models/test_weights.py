import json
import pickle

import pytest
import safetensors.torch
import torch

from models.classifiers import build_classifier
from models.errors import InputError
from models.weights import dump, load

CARD = {"architecture": "resnet18_gray", "normalization": {"mean": 0.5, "std": 0.2}, "labels": ["normal", "pneumonia"]}


@pytest.fixture(scope="module")
def model():
    return build_classifier("resnet18_gray", seed=4)


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
    twin = build_classifier("resnet18_gray", seed=4).to(memory_format=torch.channels_last)
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
        lambda payload: safetensors.torch.save({"weight": torch.zeros(3)}, {"card": '{"architecture": "vgg"}'}),
    ],
    ids=["empty", "header", "tail", "length", "pickle", "no card", "tensors", "list", "no JSON", "architecture"],
)
def test_damaged_or_foreign_bytes_are_refused_in_one_sentence(payload, damage):
    with pytest.raises(InputError) as caught:
        load(damage(payload))
    assert "\n" not in str(caught.value)


def test_a_card_without_architecture_is_refused(model):
    with pytest.raises(InputError, match="architecture"):
        dump(model, {"labels": []})
