"""From an encoder's name to the encoder in memory."""

import torch

from models.encoders.catalogue import HubEncoderName
from models.encoders.image_text import ImageTextEncoder
from models.encoders.source import EncoderSource, fetch, published_model, resolve_source
from models.errors import InputError


def load_encoder(
    name: HubEncoderName,
    *,
    model: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    device: str = "cpu",
) -> ImageTextEncoder:
    """Load an encoder of images and texts by its name.

    Args:
        name: the encoder.
        model: hub id or folder of another checkpoint of the same class, or None for the catalogue's.
        revision: as in `resolve_source`.
        token: access token of the hub, or None for the one of `HF_TOKEN` or of `hf auth login`.
        device: "cpu" or "cuda".

    Returns:
        The encoder.

    Raises:
        InputError: its files cannot be had or are damaged, or there is no such device.
    """
    return load_source(resolve_source(name, model, revision, token), token, device)


def load_source(source: EncoderSource, token: str | None = None, device: str = "cpu") -> ImageTextEncoder:
    """Load an encoder whose source was found before, on another machine perhaps.

    Args:
        source: what `resolve_source` gave.
        token: as in `load_encoder`.
        device: as there.

    Returns:
        The encoder.

    Raises:
        InputError: as there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"There is no GPU that PyTorch can use on this machine; run {source.name} on the device cpu, or on a "
            "worker of the `gpu` pool."
        )
    folder = fetch(source, token)
    if published_model(source.name).layout == "transformers":
        from models.encoders.clip import ClipEncoder

        return ClipEncoder(source, folder, device)
    from models.encoders.biomedclip import BiomedClipEncoder

    return BiomedClipEncoder(source, folder, device)
