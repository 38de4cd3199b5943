"""CLIP, trained on 400 million photographs and their captions."""

from models.encoders.transformers_clip import TransformersClip


class Clip(TransformersClip):
    """Radford et al., "Learning transferable visual models from natural language supervision", 2021."""

    name = "clip"
    licence = "MIT"
    model = "openai/clip-vit-base-patch32"
    revision = "b97b0100e55e367c057773c2a614676470b0d575"  # has safetensors; the older ones hold a pickle only
