"""Names of the networks, for whoever checks a choice without building one: that takes seconds to import."""

from typing import Literal

EncoderName = Literal["classifier", "metric", "clip", "pubmedclip", "biomedclip"]
ENCODERS: dict[EncoderName, str] = {
    "classifier": "the classifier without its head",
    "metric": "its features and those of an ImageNet network side by side",
    "clip": "CLIP, of photographs and their captions; reads texts",
    "pubmedclip": "CLIP fine-tuned on radiology images and their captions; reads texts",
    "biomedclip": "of the figures and captions of biomedical articles; reads texts",
}

Architecture = Literal["ensemble28", "resnet18_gray", "efficientnet_b0", "efficientnet_lite0", "compact28"]
