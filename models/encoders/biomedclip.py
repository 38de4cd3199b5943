"""BiomedCLIP: a vision transformer and a BERT, trained on the figures and captions of PubMed Central."""

from models.encoders.open_clip_custom_text import OpenClipCustomText


class BiomedClip(OpenClipCustomText):
    """Zhang et al., "BiomedCLIP: a multimodal biomedical foundation model …", 2023."""

    name = "biomedclip"
    licence = "MIT"
    model = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
    revision = "9f341de24bfb00180f1b847274256e9b65a3a32e"
