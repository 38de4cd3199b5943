import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from models.encoders.loading import load_encoder, load_source
from models.encoders.source import resolve_source
from models.errors import InputError

_heard: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _heard is not None and event in ("socket.connect", "socket.getaddrinfo"):
        _heard.append(f"{event} {arguments}")


@pytest.fixture
def network() -> Iterator[list[str]]:
    """What this process asks of a network."""
    global _heard
    sys.addaudithook(_listen)  # cannot be taken away again, so it is silent after the test
    _heard = []
    yield _heard
    _heard = None


@pytest.mark.parametrize("name", ["clip", "pubmedclip", "biomedclip"])
def test_a_folder_is_loaded_without_a_network(name, clip_folder, biomedclip_folder, network):
    folder = biomedclip_folder if name == "biomedclip" else clip_folder
    encoder = load_encoder(name, model=str(folder))
    assert encoder.encode_images(np.zeros((1, 28, 28), np.uint8)).shape == (1, encoder.dimension)
    assert encoder.encode_texts(["pneumonia"]).shape == (1, encoder.dimension)
    assert encoder.identity == resolve_source(name, str(folder)).identity
    assert network == []


def test_a_source_that_was_found_before_is_loaded(clip_folder):
    source = resolve_source("pubmedclip", str(clip_folder))
    assert load_source(source).identity == source.identity


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(clip_folder):
    with pytest.raises(InputError, match="no GPU that PyTorch can use on this machine; run clip on the device cpu, or"):
        load_encoder("clip", model=str(clip_folder), device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["clip", "biomedclip"])
def test_vectors_of_a_gpu_point_where_those_of_the_cpu_do(name, clip_folder, biomedclip_folder):
    folder = str(biomedclip_folder if name == "biomedclip" else clip_folder)
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    texts = ["pneumonia", "a normal radiograph"]
    cpu, gpu = load_encoder(name, model=folder), load_encoder(name, model=folder, device="cuda")
    for one, other in (
        (cpu.encode_images(images), gpu.encode_images(images, batch_size=4)),
        (cpu.encode_texts(texts), gpu.encode_texts(texts)),
    ):
        cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert cosines.min() > 0.99
