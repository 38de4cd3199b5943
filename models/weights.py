"""Classifiers as bytes: safetensors with a JSON card in the header, never pickle."""

import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from models.classifiers import Classifier, build_classifier
from models.errors import InputError
from models.safetensors_metadata import read_metadata

CARD = "card"
BUILT_BY = ("architecture", "classes", "channels")


def dump(model: Classifier, card: dict[str, Any]) -> bytes:
    """Write a classifier down.

    Args:
        model: the classifier.
        card: what its user must know, as JSON values: at least the `architecture`, `classes` and `channels` that it
            was built with; the normalisation, the image size, the labels, the temperature and the threshold belong
            there too.

    Returns:
        Safetensors bytes, the same for the same weights and card.

    Raises:
        InputError: the card does not say how the classifier was built.
    """
    for field in BUILT_BY:
        if card.get(field) != getattr(model, field):
            raise InputError(
                f"The card of the weights says {card.get(field)!r} under {field!r}, but the classifier was built with "
                f"{getattr(model, field)!r}; correct the card."
            )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return safetensors.torch.save(tensors, {CARD: json.dumps(card, sort_keys=True)})


def load(payload: bytes) -> tuple[Classifier, dict[str, Any]]:
    """Build a classifier from bytes.

    Args:
        payload: what `dump` gave.

    Returns:
        The classifier in evaluation mode on the CPU, and its card.

    Raises:
        InputError: the bytes are damaged, or are not such a classifier.
    """
    metadata = read_metadata(payload)
    try:
        card = json.loads(metadata[CARD])
        model = build_classifier(card["architecture"], classes=card["classes"], channels=card["channels"])
        model.load_state_dict(safetensors.torch.load(payload))
    except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"The weights cannot be read as a classifier of this project ({reason}); supply the file as it was saved, "
            "or train again."
        ) from error
    return model.eval(), card
