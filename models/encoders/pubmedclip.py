"""PubMedCLIP: CLIP fine-tuned on the radiology images and captions of ROCO."""

from models.encoders.transformers_clip import TransformersClip


class PubMedClip(TransformersClip):
    """Eslami, Meinel and de Melo, "PubMedCLIP: how much does CLIP benefit visual question answering …?", 2023."""

    name = "pubmedclip"
    licence = "MIT"
    model = "flaviagiammarino/pubmed-clip-vit-base-patch32"
    revision = "26c0c67f6da303ad2a38909130bd35744ea93517"
