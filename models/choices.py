"""Names that forms and code share, each with a line that says what it is.

Forms take their options and their texts from here, builders look up the same names. Nothing is imported that takes time
to load: a form must not wait for PyTorch.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

Architecture = Literal[
    "ensemble28", "ensemble28x8", "resnet18_gray", "efficientnet_b0", "efficientnet_lite0", "compact28", "probe"
]
ARCHITECTURES: dict[Architecture, str] = {
    "ensemble28": "four small residual networks at full resolution side by side, an ensemble in one network",
    "ensemble28x8": "the same with eight networks, twice the time",
    "resnet18_gray": "ResNet-18 with a 3×3 stem for small images",
    "efficientnet_b0": "EfficientNet-B0 with strides for small images",
    "efficientnet_lite0": "EfficientNet-Lite0 on images enlarged four times",
    "compact28": "one small residual network, the fastest",
    "probe": "logistic regression on the features of a published encoder, which stays as it is",
}
PROBE: Architecture = "probe"

LossName = Literal["balanced_bce", "bce", "balanced_cross_entropy", "cross_entropy", "focal"]
LOSSES: dict[LossName, str] = {
    "balanced_bce": "two classes, binary cross-entropy in which both classes have the same weight",
    "bce": "two classes, binary cross-entropy",
    "balanced_cross_entropy": "three or more classes, cross-entropy in which all classes have the same weight",
    "cross_entropy": "three or more classes, cross-entropy",
    "focal": "any number of classes, focal loss (Lin et al., 2017), without label smoothing",
}

TWO_CLASS_LOSSES: tuple[LossName, ...] = ("balanced_bce", "bce", "focal")
MORE_CLASS_LOSSES: tuple[LossName, ...] = ("balanced_cross_entropy", "cross_entropy", "focal")
SEVERAL_LABEL_LOSSES: tuple[LossName, ...] = ("balanced_bce", "bce")

ScheduleName = Literal["one_cycle", "cosine", "step"]
SCHEDULES: dict[ScheduleName, str] = {
    "one_cycle": "30 % warm-up from 1/25 of the peak, then cosine decay to 0 (Smith and Topin, 2018)",
    "cosine": "5 % linear warm-up, then cosine decay to 0 (Loshchilov and Hutter, 2017; without restarts)",
    "step": "×0.1 at 50 % and at 75 % of the steps, as in MedMNIST's training script",
}

AugmentationName = Literal["none", "light", "standard", "strong", "crops", "diverse"]
AUGMENTATIONS: dict[AugmentationName, str] = {
    "none": "images as they are",
    "light": "half the ranges of `standard`",
    "standard": "small rotation, translation and scaling, moderate gamma, contrast and brightness",
    "strong": "the geometry of `standard` with a wider range of gamma, contrast and brightness",
    "crops": "`standard` with crops of 50–110 % of the area in the place of scaling",
    "diverse": "`standard` and `crops` in turn, one for each network of an ensemble; a network alone has `standard`",
}

SearchName = Literal["grid", "tpe"]
SEARCHES: dict[SearchName, str] = {
    "grid": "every combination of the lists",
    "tpe": "proposed one after the other by Optuna from what the earlier ones reached on validation",
}

Precision = Literal["auto", "fp32", "bf16"]
PRECISIONS: dict[Precision, str] = {
    "auto": "bf16 on a GPU with native support, otherwise fp32",
    "fp32": "32-bit floating point",
    "bf16": "mixed precision: bfloat16 operations, 32-bit weights",
}

Device = Literal["auto", "cpu", "cuda"]

Split = Literal["train", "val", "test"]

ThresholdRuleName = Literal["balanced_likelihood", "balanced_accuracy", "fixed"]
THRESHOLD_RULES: dict[ThresholdRuleName, str] = {
    "balanced_likelihood": "where a class-balanced recalibration on validation crosses one half",
    "balanced_accuracy": "highest balanced accuracy on validation",
    "fixed": "0.5, set beforehand, which suits a class-balanced loss",
}

PublishedEncoderName = Literal["clip", "pubmedclip", "biomedclip", "rad_dino", "medsiglip"]
EncoderName = Literal["classifier", "metric", PublishedEncoderName]
PUBLISHED_ENCODERS: dict[EncoderName, str] = {
    "clip": "CLIP, trained on photographs with captions, reads texts too",
    "pubmedclip": "CLIP fine-tuned on radiology images with captions, reads texts too",
    "biomedclip": "BiomedCLIP, trained on figures of biomedical articles with captions, reads texts too",
    "rad_dino": "RAD-DINO, trained on chest X-rays alone",
    "medsiglip": "MedSigLIP, trained on medical images with reports, reads texts too; gated",
}
ENCODERS: dict[EncoderName, str] = {
    "classifier": "the classifier without its head",
    "metric": "the classifier's features beside those of an ImageNet network, for search",
    **PUBLISHED_ENCODERS,
}

IndexKind = Literal["flat", "hnsw", "ivf"]
INDEX_KINDS: dict[IndexKind, str] = {
    "flat": "exact: compares the query with every vector",
    "hnsw": "approximate: a graph of neighbours in memory",
    "ivf": "approximate: inverted lists, of which a few are searched",
}

Similarity = Literal["cosine", "l2"]
SIMILARITIES: dict[Similarity, str] = {
    "cosine": "the cosine of two vectors, whatever their lengths",
    "l2": "the Euclidean distance, to which lengths count",
}

Publish = Literal["if_no_worse", "always", "never"]
PUBLISH: dict[Publish, str] = {
    "if_no_worse": "if it holds the whole dataset and is no worse than the one in use, leave-one-out on validation",
    "always": "whatever it holds",
    "never": "not at all",
}

WeightFormat = Literal["nf4", "bf16", "fp32"]

Release = Literal["1", "1.5"]
"""Of MedGemma; each has conventions of its own, see `models.report_generation.conventions`."""

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
