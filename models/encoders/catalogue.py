"""The encoders by name, and where those of the Hugging Face hub come from."""

from dataclasses import dataclass
from typing import Literal, get_args

EncoderName = Literal["classifier", "metric", "clip", "pubmedclip", "biomedclip"]
"""All encoders. The first two are trained here, on images alone; the others read texts too."""

HubEncoderName = Literal["clip", "pubmedclip", "biomedclip"]

TEXT_ENCODERS: tuple[str, ...] = get_args(HubEncoderName)


@dataclass(frozen=True)
class HubModel:
    """A published image-text model.

    Attributes:
        model: id on the hub.
        revision: commit that is taken unless another one is asked for.
        licence: of the weights, by its SPDX name.
        layout: whose files they are: "transformers" (a `CLIPModel`) or "open_clip".
    """

    model: str
    revision: str
    licence: str
    layout: Literal["transformers", "open_clip"]


HUB_MODELS: dict[HubEncoderName, HubModel] = {
    # Radford et al., "Learning transferable visual models from natural language supervision", 2021. This commit has
    # safetensors; the older ones hold a pickle only.
    "clip": HubModel("openai/clip-vit-base-patch32", "b97b0100e55e367c057773c2a614676470b0d575", "MIT", "transformers"),
    # Eslami, Meinel and de Melo, "PubMedCLIP: how much does CLIP benefit visual question answering in the medical
    # domain?", 2023: CLIP fine-tuned on the radiology images and captions of ROCO.
    "pubmedclip": HubModel(
        "flaviagiammarino/pubmed-clip-vit-base-patch32",
        "26c0c67f6da303ad2a38909130bd35744ea93517",
        "MIT",
        "transformers",
    ),
    # Zhang et al., "BiomedCLIP: a multimodal biomedical foundation model pretrained from fifteen million scientific
    # image-text pairs", 2023.
    "biomedclip": HubModel(
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        "9f341de24bfb00180f1b847274256e9b65a3a32e",
        "MIT",
        "open_clip",
    ),
}
