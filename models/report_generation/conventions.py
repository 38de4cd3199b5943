"""How the authors of each release of MedGemma put a question to it; other use is not what it was tuned for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from models.choices import Release


@dataclass(frozen=True)
class Conventions:
    """What surrounds a prompt.

    Attributes:
        system: system message, where a prompting strategy has none of its own; or None.
        image_first: whether the image stands before the text.
    """

    system: str | None
    image_first: bool


CONVENTIONS: Mapping[Release, Conventions] = {
    "1": Conventions("You are an expert radiologist.", image_first=False),
    "1.5": Conventions(None, image_first=True),
}
"""As the model cards and notebooks of `medgemma-4b-it` and `medgemma-1.5-4b-it` have them. Both decode greedily."""


def release_of(model: str, wanted: Literal["auto", Release] = "auto") -> Release:
    """Tell whose conventions fit a model.

    Args:
        model: hub id, folder, or a server's name for it.
        wanted: a release, or "auto" to read it from the last part of the model's name.

    Returns:
        The release: "1.5" where the name holds that, else "1".
    """
    if wanted != "auto":
        return wanted
    return "1.5" if "1.5" in PurePath(model).name else "1"
