"""The encoders of the hub: what one stands for, and the thing itself."""

from models.encoders.checkpoint import Source
from models.encoders.encoder import encoder_class
from models.encoders.published import PublishedEncoder
from models.errors import InputError
from tasks.execution.secrets import hub_token
from tasks.records.retrieval import EncoderRecord

TOKEN_BLOCK = "huggingface-token"
"""Prefect Secret block with the access token of the hub, which a gated encoder needs, and MedGemma too."""


def published_class(name: str) -> type[PublishedEncoder]:
    """Find the class of a published encoder.

    Raises:
        InputError: there is no such encoder, or it is made here.
    """
    kind = encoder_class(name)
    if not issubclass(kind, PublishedEncoder):
        raise InputError(f"The encoder {name} is made here and not published; choose one of the hub.")
    return kind


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


def source_of(record: EncoderRecord) -> Source:
    """Take the source of a published encoder from its record."""
    return Source(record.name, record.model, record.revision, record.path, record.random_weights)


def token_for(kind: type[PublishedEncoder]) -> str | None:
    """Take the access token of the hub where the encoder is gated; none is read for the others."""
    return hub_token(TOKEN_BLOCK) if kind.gated else None
