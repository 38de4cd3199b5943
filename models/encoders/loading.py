"""Published encoders, read once a process: what classifies, explains and searches shares one."""

import threading
from collections import OrderedDict

from models.encoders.checkpoint import Source
from models.encoders.encoder import encoder_class
from models.encoders.published import PublishedEncoder
from models.errors import InputError

MOST = 2
"""Encoders that are kept: the weights of one take up to 3.5 GB."""

_kept: OrderedDict[tuple[Source, str], PublishedEncoder] = OrderedDict()
_loading = threading.Lock()


def published_class(name: str) -> type[PublishedEncoder]:
    """Find the class of a published encoder.

    Args:
        name: the encoder.

    Returns:
        The class.

    Raises:
        InputError: there is no such encoder, or it is made here.
    """
    kind = encoder_class(name)
    if not issubclass(kind, PublishedEncoder):
        raise InputError(f"The encoder {name} is made here and not published; choose one of the hub.")
    return kind


def load_published(source: Source, device: str, token: str | None = None) -> PublishedEncoder:
    """Load a published encoder, or take the one that this process has loaded before.

    Threads that ask at once wait for one loading: transformers changes its classes for as long as it loads.

    Args:
        source: what `PublishedEncoder.resolve` gave.
        device: "cpu" or "cuda".
        token: access token of the hub, or None for the one of `HF_TOKEN` or of `hf auth login`.

    Returns:
        The encoder.

    Raises:
        InputError: its files cannot be had or are damaged, or there is no such device.
    """
    with _loading:
        if (source, device) not in _kept:
            encoder = published_class(source.encoder)(source, device=device, token=token)
            while len(_kept) >= MOST:
                _kept.popitem(last=False)
            _kept[source, device] = encoder
        _kept.move_to_end((source, device))
        return _kept[source, device]
