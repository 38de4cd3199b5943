"""Where a checkpoint's files come from: a folder, or the Hugging Face hub at a pinned commit.

Nothing here imports torch or transformers, so that a machine which only plans the work resolves a model in a moment.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import hub
from models.errors import InputError
from models.text import printable

RANDOM_WEIGHTS_MARK = "random_weights"
"""Field of `config.json` that is true in a checkpoint whose weights were never trained."""

_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_PROCESSOR_FILES = ("processor_config.json", "tokenizer_config.json", "tokenizer.json")
_SUFFIXES = (".json", ".jinja", ".model", ".safetensors")


@dataclass(frozen=True)
class Source:
    """Where weights come from. Two sources are equal when they hold the same files, wherever those lie.

    Attributes:
        model: hub id or folder, as the user gave it.
        revision: commit on the hub; for a folder "sha256:" and the digest of its files.
        path: folder with the files, or the hub id while they are still to be downloaded.
        random_weights: whether the weights were never trained.
    """

    model: str
    revision: str
    path: str = field(compare=False)
    random_weights: bool


def resolve_source(model: str, revision: str | None, token: str | None) -> Source:
    """Find out what a model's name stands for, without loading or downloading weights.

    A folder is read whole, once a process, for its digest. Of a model on the hub only the configuration is fetched,
    which is as gated as its weights; what lies in the hub's cache works without a network.

    Args:
        model: folder of a checkpoint, or hub id.
        revision: commit, tag or branch on the hub, or None for the newest; for a folder None, or the digest that it
            must have.
        token: access token of the hub, or None for the one of `HF_TOKEN` or of `hf auth login`.

    Returns:
        The source, with its revision pinned.

    Raises:
        InputError: there is no such model or revision, it may not be read, or it is no Gemma 3 checkpoint with vision.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        config = _check_files(folder)
        return Source(model, hub.pin_folder(model, revision, _SUFFIXES), str(folder), _is_random(config))
    snapshot = hub.download(model, revision, token, [_CONFIG])
    complete = all((snapshot / name).is_file() for name in (*_PROCESSOR_FILES, *_weight_files(snapshot)))
    return Source(model, snapshot.name, str(snapshot) if complete else model, _is_random(_read_config(snapshot)))


def fetch(source: Source, token: str | None) -> Path:
    """Return the folder with a source's files, downloading what is missing and checking that all is there.

    Args:
        source: what `resolve_source` gave.
        token: access token of the hub, as there.

    Raises:
        InputError: the files cannot be had, or are damaged.
    """
    folder = Path(source.path)
    if not folder.is_dir():
        folder = hub.download(source.model, source.revision, token, [f"*{suffix}" for suffix in _SUFFIXES])
    _check_files(folder)
    return folder


def _check_files(folder: Path) -> dict[str, Any]:
    config = _read_config(folder)
    missing = [name for name in (*_PROCESSOR_FILES, *_weight_files(folder)) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"The checkpoint in {folder} lacks {', '.join(missing)}; supply all files of the model: configuration, "
            "processor, tokenizer and weights."
        )
    for name in _weight_files(folder):
        hub.require_safetensors(folder / name)
    return config


def _read_config(folder: Path) -> dict[str, Any]:
    config = hub.read_json(folder / _CONFIG)
    if config.get("model_type") != "gemma3" or "vision_config" not in config:
        raise InputError(
            f"The checkpoint in {folder} is of the type '{printable(config.get('model_type'), 40)}', not Gemma 3 with "
            "vision; choose MedGemma 4B or another model of the type 'gemma3'."
        )
    if "quantization_config" in config:
        raise InputError(
            f"The checkpoint in {folder} is quantized already; choose the original weights, which are quantized when "
            "they are loaded."
        )
    return config


def _weight_files(folder: Path) -> list[str]:
    if not (folder / _INDEX).is_file():
        return ["model.safetensors"]
    shards = hub.read_json(folder / _INDEX).get("weight_map", {})
    return sorted(set(shards.values()))


def _is_random(config: dict[str, Any]) -> bool:
    return config.get(RANDOM_WEIGHTS_MARK) is True
