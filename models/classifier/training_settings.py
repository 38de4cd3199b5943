"""What decides the weights of a classifier, beside the data: one field each, with its default, bounds and description.

The training form of the flows is made of this model. It imports nothing that takes time to load.
"""

from pydantic import BaseModel, ConfigDict, Field

from models.choices import (
    ARCHITECTURES,
    AUGMENTATIONS,
    LOSSES,
    PRECISIONS,
    PUBLISHED_ENCODERS,
    SCHEDULES,
    Architecture,
    AugmentationName,
    LossName,
    Precision,
    PublishedEncoderName,
    ScheduleName,
    described,
)


class TrainingSettings(BaseModel):
    """How to train the classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = Field(
        "ensemble28", title="Architecture", description=described("Network", ARCHITECTURES)
    )
    encoder: PublishedEncoderName = Field(
        "rad_dino",
        title="Encoder",
        description=described(
            "For `probe` only, for which no other field but this and the next counts. Frozen network",
            PUBLISHED_ENCODERS,
        ),
    )
    pretrained: str | None = Field(
        None,
        min_length=1,
        title="Pretrained weights",
        description="Weights to start from: `imagenet`, which torchvision publishes for ResNet-18 and EfficientNet-B0 "
        "(downloaded once) and an installed package for EfficientNet-Lite0; or the path of a .pth or .safetensors file "
        "of the same architecture; none starts from random weights. Of a probe: hub id or folder of another checkpoint "
        "of its encoder.",
    )
    epochs: int = Field(30, ge=1, le=500, title="Epochs", description="Passes over the training split.")
    batch_size: int = Field(128, ge=8, le=4096, title="Batch size", description="Images per step.")
    learning_rate: float = Field(
        2e-3, ge=1e-6, le=1, title="Learning rate", description="Peak of the schedule (AdamW)."
    )
    schedule: ScheduleName = Field(
        "one_cycle", title="Schedule", description=described("Learning rate over the steps", SCHEDULES)
    )
    weight_decay: float = Field(0.01, ge=0, le=1, title="Weight decay", description="Decoupled weight decay of AdamW.")
    loss: LossName = Field("balanced_bce", title="Loss", description=described("Training loss", LOSSES))
    focal_gamma: float = Field(
        2.0, ge=0, le=10, title="Focal γ", description="Focal loss only: focusing exponent; 0 gives the cross-entropy."
    )
    focal_alpha: float | None = Field(
        None, ge=0, le=1, title="Focal α", description="Focal loss, two classes: weight of the second; none balances."
    )
    label_smoothing: float = Field(
        0.05, ge=0, le=0.499, title="Label smoothing", description="Share of each target spread over all classes."
    )
    augmentation: AugmentationName = Field(
        "diverse", title="Augmentation", description=described("Random variation of training images", AUGMENTATIONS)
    )
    mixup: float = Field(
        0.0, ge=0, le=10, title="Mixup", description="α of the Beta distribution of the mixing weight; 0 mixes none."
    )
    ema_decay: float = Field(
        0.995,
        ge=0,
        le=0.99999,
        title="EMA decay",
        description="Decay per step of the averaged weights, which are evaluated.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=500,
        title="Patience",
        description="Stop early after this many epochs without a lower validation loss; none trains all epochs. It "
        "cuts the schedule short, so it rarely helps with `one_cycle`.",
    )
    precision: Precision = Field(
        "auto", title="Precision", description=described("Number format of forward and backward pass", PRECISIONS)
    )
    compile: bool = Field(
        False, title="Compile", description="Use torch.compile: slow to start, faster per step; for long GPU trainings."
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Seed", description="Seed of the initial weights, the order and the augmentation."
    )
