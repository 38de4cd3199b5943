"""Published encoders, read once a process: what classifies, explains and searches shares one."""

import threading
from collections import OrderedDict
from importlib import import_module

from models.choices import PUBLISHED_ENCODERS
from models.encoders.checkpoint import Source
from models.encoders.encoder import REGISTERED
from models.encoders.published import PublishedEncoder
from models.errors import InputError
from models.text import printable

MOST = 2
"""Encoders that are kept: the weights of one take up to 3.5 GB."""

_kept: OrderedDict[tuple[Source, str], PublishedEncoder] = OrderedDict()
_loading = threading.Lock()


def published_class(name: str) -> type[PublishedEncoder]:
    """Find the class of a published encoder, without importing what it computes with.

    Args:
        name: the encoder.

    Returns:
        The class.

    Raises:
        InputError: there is no published encoder of this name.
    """
    if name not in PUBLISHED_ENCODERS:
        raise InputError(
            f"There is no published encoder '{printable(name)}'; choose one of {', '.join(PUBLISHED_ENCODERS)}."
        )
    import_module(f"models.encoders.{name}")
    kind = REGISTERED[name]
    assert issubclass(kind, PublishedEncoder)
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
