"""All encoders: those that are published, and beside this file those that are made of what is trained here."""

from importlib import import_module

from models.choices import ENCODERS, PUBLISHED_ENCODERS
from models.encoders.encoder import REGISTERED, Encoder
from models.encoders.loading import published_class
from models.errors import InputError
from models.text import printable


def encoder_class(name: str) -> type[Encoder]:
    """Find the class of an encoder, without importing what it computes with.

    Args:
        name: one of `models.choices.ENCODERS`.

    Returns:
        The class.

    Raises:
        InputError: there is no encoder of this name.
    """
    if name not in ENCODERS:
        raise InputError(f"There is no encoder '{printable(name)}'; choose one of {', '.join(ENCODERS)}.")
    if name in PUBLISHED_ENCODERS:
        return published_class(name)
    import_module(f"models.own_encoders.{name}")
    return REGISTERED[name]
