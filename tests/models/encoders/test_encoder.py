import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from models.choices import ENCODERS, PUBLISHED_ENCODERS, EncoderName
from models.encoders.encoder import Encoder
from models.encoders.published import PublishedEncoder
from models.errors import InputError
from models.own_encoders.table import encoder_class


class Means(Encoder):
    name, licence, dimension = "means", "none", 1

    def encode_images(self, images, *, batch_size=64):
        return images.mean(axis=(1, 2), dtype=np.float32)[:, None]


@pytest.mark.parametrize("name", get_args(EncoderName))
def test_an_encoder_is_one_class_in_the_file_of_its_name(name):
    found = encoder_class(name)
    assert found.name == name
    assert Path(inspect.getfile(found)).name == f"{name}.py"
    assert found.licence
    assert ENCODERS[name]
    assert issubclass(found, PublishedEncoder) == (name in PUBLISHED_ENCODERS)
    if issubclass(found, PublishedEncoder):
        assert ("reads texts" in ENCODERS[name]) == found.reads_text
        assert ("gated" in ENCODERS[name]) == found.gated
        assert len(found.revision) == 40
        assert set(found.revision) <= set("0123456789abcdef")


def test_another_name_is_refused():
    with pytest.raises(InputError, match=r"^There is no encoder 'me tric'; choose one of classifier, metric, clip, "):
        encoder_class("me\ntric")


def test_an_encoder_without_text_names_those_that_have_it():
    able = ("clip", "pubmedclip", "biomedclip", "medsiglip")
    for name in able:
        encoder_class(name).require_text()
    for encoder in (Means(), *map(encoder_class, ("classifier", "metric", "rad_dino"))):
        told = f"^The encoder {encoder.name} reads no text; text queries need one of {', '.join(able)}.$"
        with pytest.raises(InputError, match=told):
            encoder.require_text()
    with pytest.raises(InputError, match="reads no text"):
        Means().encode_texts(["pneumonia"])


def test_the_identity_names_the_weights():
    assert Means.identify() == "means"
    assert Means.identify("ab" * 32) == f"means sha256:{'ab' * 32}"
    assert len({Means.identify(*digests) for digests in (["ab" * 32, "cd" * 32], ["cd" * 32, "ab" * 32])}) == 2


def test_what_encoders_declare_is_read_without_the_libraries_that_they_compute_with():
    code = (
        "import sys\nfrom models.choices import ENCODERS\nfrom models.own_encoders.table import encoder_class\n"
        "[encoder_class(name) for name in ENCODERS]\n"
        "assert not {'torch', 'transformers', 'open_clip', 'faiss', 'huggingface_hub'} & set(sys.modules)\n"
        "from models import hub\nassert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
