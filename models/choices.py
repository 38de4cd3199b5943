"""Names that forms and code share, each with a line that says what it is.

Forms take their options and their texts from here, builders look up the same names. Nothing is imported that takes time
to load: a form must not wait for PyTorch.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

Architecture = Literal["ensemble28", "resnet18_gray", "efficientnet_b0", "efficientnet_lite0", "compact28"]

EncoderName = Literal["classifier", "metric", "clip", "pubmedclip", "biomedclip"]
ENCODERS: dict[EncoderName, str] = {
    "classifier": "the classifier without its head",
    "metric": "the classifier's features beside those of an ImageNet network, for search",
    "clip": "CLIP, trained on photographs with captions, reads texts too",
    "pubmedclip": "CLIP fine-tuned on radiology images with captions, reads texts too",
    "biomedclip": "BiomedCLIP, trained on figures of biomedical articles with captions, reads texts too",
}

Name = TypeVar("Name", bound=str)


def described(text: str, choices: Mapping[Name, str]) -> str:
    """Describe a field of named choices.

    Args:
        text: what is chosen.
        choices: what each name stands for.

    Returns:
        One sentence for a form.
    """
    return f"{text}: {'; '.join(f'`{name}` – {line}' for name, line in choices.items())}."
