"""Classifiers as bytes: safetensors with a JSON card in the header, never pickle."""

import json
from typing import Any

import safetensors.torch

from models.bounded_json import parse_json
from models.bounds import CHANNELS, CLASSES
from models.classifier.classifiers import Classifier, build_classifier
from models.errors import InputError
from models.safetensors_metadata import load_tensors, read_metadata
from models.text import printable

CARD = "card"
BUILT_BY = ("architecture", "classes", "channels")


def dump(model: Classifier, card: dict[str, Any]) -> bytes:
    """Serialise a classifier.

    Args:
        model: the classifier.
        card: what is needed to use it, as JSON values: at least the `architecture`, `classes` and `channels` that it
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
    """Load a classifier from bytes.

    Args:
        payload: what `dump` returned.

    Returns:
        The classifier in evaluation mode on the CPU, and its card.

    Raises:
        InputError: the bytes are damaged, or are not such a classifier.
    """
    metadata = read_metadata(payload)
    try:
        card = parse_json(metadata[CARD])
        classes, channels = card["classes"], card["channels"]
        if not (2 <= classes <= CLASSES and 1 <= channels <= CHANNELS):
            raise ValueError(f"{printable(classes)} classes, {printable(channels)} channels")
        model = build_classifier(card["architecture"], classes=classes, channels=channels)
        model.load_state_dict(load_tensors(payload))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The weights cannot be read as a classifier of this project ({printable(error)}); supply the file as it "
            "was saved, or train again."
        ) from error
    return model.eval(), card
