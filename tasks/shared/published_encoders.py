"""The encoders of the hub: what one stands for, and the thing itself."""

from collections.abc import Mapping
from typing import Any

from models.encoders.checkpoint import Source
from models.encoders.loading import published_class
from models.encoders.published import PublishedEncoder
from tasks.execution.secrets import hub_token
from tasks.records.retrieval import EncoderRecord

TOKEN_BLOCK = "huggingface-token"
"""Prefect Secret block with the access token of the hub, which a gated encoder needs, and MedGemma too."""


def locate_published(name: str, model: str | None, device: str) -> EncoderRecord:
    """Find out what a published encoder stands for, without loading it.

    Args:
        name: the encoder.
        model: hub id or folder of another checkpoint of the same layout, or None for its own.
        device: where it is to compute, "cpu" or "cuda".

    Returns:
        The encoder, pinned to a commit or to the digest of a folder's files.

    Raises:
        InputError: its files cannot be had.
    """
    kind = published_class(name)
    source = kind.resolve(model, token=token_for(kind))
    return EncoderRecord(
        name=name,
        identity=source.identity,
        model=source.model,
        revision=source.revision,
        reads_text=kind.reads_text,
        licence=kind.licence if source.model == kind.model else "",
        path=source.path,
        device=device,
        random_weights=source.random_weights,
    )


def frozen_encoder(card: Mapping[str, Any]) -> EncoderRecord | None:
    """Take the encoder that a classifier stands on from the classifier's card; None if it stands on none."""
    from models.classifier.weights import ENCODER  # which imports PyTorch: planning does not wait for it

    told = card.get(ENCODER)
    if told is None:
        return None
    source = Source(told["name"], told["model"], told["revision"], told["model"])
    return EncoderRecord(
        name=source.encoder,
        identity=source.identity,
        model=source.model,
        revision=source.revision,
        reads_text=published_class(source.encoder).reads_text,
        licence=told["licence"],
        path=source.path,
        device=own_device(),
        random_weights=told["random_weights"],
    )


def own_device() -> str:
    """Name the device on which a frozen encoder computes: the GPU, where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def source_of(record: EncoderRecord) -> Source:
    """Take the source of a published encoder from its record."""
    return Source(record.name, record.model, record.revision, record.path, record.random_weights)


def token_for(kind: type[PublishedEncoder]) -> str | None:
    """Take the access token of the hub where the encoder is gated; none is read for the others."""
    return hub_token(TOKEN_BLOCK) if kind.gated else None
