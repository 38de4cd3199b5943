"""How to train the classifier."""

from typing import Literal

from pydantic import Field

from tasks.parameters.base import Parameters


class TrainingParameters(Parameters):
    """How to train the classifier."""

    architecture: Literal["ensemble28", "resnet18_gray", "efficientnet_b0", "efficientnet_lite0", "compact28"] = Field(
        "ensemble28",
        title="Architecture",
        description="Four small residual networks at full resolution in one, ResNet-18 with a 3×3 stem, "
        "EfficientNet-B0 with strides for small images, EfficientNet-Lite0 on enlarged ones, or one small residual "
        "network, which is the fastest.",
    )
    pretrained: str | None = Field(
        None,
        min_length=1,
        title="Pretrained weights",
        description="`imagenet` takes published weights: EfficientNet-Lite0's from its package, torchvision's "
        "from its cache folder or the network; a path takes a .pth or .safetensors file of the same network; none "
        "starts from random weights.",
    )
    epochs: int = Field(30, ge=1, le=500, title="Epochs", description="Passes over the training split.")
    batch_size: int = Field(128, ge=8, le=4096, title="Batch size", description="Images a step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, title="Learning rate", description="Peak of the schedule (AdamW).")
    schedule: Literal["one_cycle", "cosine", "step"] = Field(
        "one_cycle",
        title="Schedule",
        description="One cycle with a rise of 30 %, cosine with a short rise, or a tenth after half and three quarters "
        "of the steps.",
    )
    weight_decay: float = Field(0.01, ge=0, le=1, title="Weight decay", description="Decoupled weight decay of AdamW.")
    loss: Literal["balanced_bce", "bce", "balanced_cross_entropy", "cross_entropy", "focal"] = Field(
        "balanced_bce",
        title="Loss",
        description="For two classes binary cross-entropy, plain or with equal weight for both; for more of them "
        "cross-entropy, plain or balanced; or focal.",
    )
    focal_gamma: float = Field(
        2.0, ge=0, le=10, title="Focal γ", description="Focal loss only: how strongly easy images are played down."
    )
    focal_alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Focal α",
        description="Focal loss of two classes only: weight of the second class; none balances the classes.",
    )
    label_smoothing: float = Field(
        0.05,
        ge=0,
        lt=0.5,
        title="Label smoothing",
        description="Share of each target that is spread over all classes; the focal loss takes none.",
    )
    augmentation: Literal["none", "light", "standard", "strong"] = Field(
        "standard", title="Augmentation", description="How much position, size and exposure of training images vary."
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=10,
        title="Mixup",
        description="α of the Beta distribution that mixes pairs of images; 0 mixes none.",
    )
    ema_decay: float = Field(
        0.995, ge=0, lt=1, title="EMA decay", description="Decay a step of the averaged weights, which are evaluated."
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=500,
        title="Patience",
        description="End after as many epochs without a lower validation loss; none trains all epochs.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        title="Precision",
        description="Number format of the network's arithmetic; `auto` is bf16 on a GPU that has it, else fp32.",
    )
    compile: bool = Field(
        False, title="Compile", description="torch.compile the network: worth its start on a GPU and long trainings."
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="Seed of weights, order and augmentation.")
