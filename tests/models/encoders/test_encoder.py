from typing import get_args

import numpy as np
import pytest

from models.encoders.catalogue import HUB_MODELS, TEXT_ENCODERS, EncoderName
from models.encoders.encoder import Encoder
from models.errors import InputError


class Means(Encoder):
    name, dimension, licence, identity, preprocessing = "means", 1, "none", "means", "None."

    def encode_images(self, images, *, batch_size=64):
        return images.mean(axis=(1, 2), dtype=np.float32)[:, None]


def test_an_encoder_without_text_names_those_that_have_it():
    with pytest.raises(
        InputError,
        match=r"^The encoder means reads no text; text queries need one of clip, pubmedclip, biomedclip\.$",
    ):
        Means().encode_texts(["pneumonia"])


def test_the_catalogue_pins_every_hub_model_to_a_commit():
    assert set(TEXT_ENCODERS) == set(HUB_MODELS) == set(get_args(EncoderName)) - {"classifier", "metric"}
    for model in HUB_MODELS.values():
        assert len(model.revision) == 40
        assert set(model.revision) <= set("0123456789abcdef")
