"""Classifiers as bytes: safetensors with a JSON card in the header, never pickle."""

import json
from typing import Annotated, Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field

from models.bounded_json import parse_json
from models.bounds import CHANNELS, CLASSES, EMBEDDING
from models.choices import PROBE
from models.classifier.classifiers import Classifier, build_classifier
from models.classifier.networks.probe import FrozenFeatures
from models.classifier.preprocessing import Normalization
from models.encoders.checkpoint import Source
from models.errors import InputError
from models.safetensors_metadata import load_tensors, read_metadata
from models.text import printable

CARD = "card"
BUILT_BY = ("architecture", "classes", "channels")
ENCODER = "encoder"
"""Field of the card of a probe: name, model, revision and dimension of its encoder, whose weights it does not hold."""


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Statistics(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    mean: list[_Number]
    std: list[_Positive]


class _Card(BaseModel):
    """What anyone computes with of a card; the rest is shown only."""

    model_config = ConfigDict(strict=True)

    classes: Annotated[int, Field(ge=2, le=CLASSES)]
    channels: Annotated[int, Field(ge=1, le=CHANNELS)]
    normalization: _Statistics
    labels: list[str] | None = None
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: _Positive | None = None
    threshold: _Number | None = None


def dump(model: Classifier, card: dict[str, Any]) -> bytes:
    """Serialise a classifier.

    Args:
        model: the classifier.
        card: what is needed to use it, as JSON values: at least the `architecture`, `classes` and `channels` that it
            was built with, and the normalisation; the image size, the labels, the temperature and the threshold belong
            there too. That of a probe names its `encoder`.

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
        The classifier in evaluation mode on the CPU, and its card. The encoder of a probe is read when it is needed.

    Raises:
        InputError: the bytes are damaged, or are not such a classifier.
    """
    metadata = read_metadata(payload)
    try:
        card = parse_json(metadata[CARD])
        checked = _Card.model_validate(card)
        classes, channels = checked.classes, checked.channels
        if not {len(checked.normalization.mean), len(checked.normalization.std)} == {channels}:
            raise ValueError(f"a normalisation that is not for {channels} channels")
        if checked.labels is not None and len(checked.labels) != classes:
            raise ValueError(f"{len(checked.labels)} labels of {classes} classes")
        frozen = _frozen(card) if card["architecture"] == PROBE else None
        model = build_classifier(card["architecture"], classes=classes, channels=channels, frozen=frozen)
        model.load_state_dict(load_tensors(payload))
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"The weights cannot be read as a classifier of this project ({printable(error)}); supply the file as it "
            "was saved, or train again."
        ) from error
    return model.eval(), card


def _frozen(card: dict[str, Any]) -> FrozenFeatures:
    told = card[ENCODER]
    name, model, revision, dimension = (told[field] for field in ("name", "model", "revision", "dimension"))
    if not all(isinstance(text, str) for text in (name, model, revision)) or not 1 <= int(dimension) <= EMBEDDING:
        raise ValueError(f"the encoder {printable(told)}")
    return FrozenFeatures(Source(name, model, revision, model), int(dimension), Normalization(**card["normalization"]))
