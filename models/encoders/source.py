"""Which files make an encoder, and where they come from: a folder, or the Hugging Face hub at a pinned commit.

Nothing here imports torch or transformers, so that a machine which only plans the work resolves an encoder in a moment.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import hub
from models.encoders.catalogue import HUB_MODELS, HubEncoderName, HubModel
from models.errors import InputError

_SUFFIXES = (".json", ".txt", ".safetensors", ".bin")
_CONFIG = {"transformers": "config.json", "open_clip": "open_clip_config.json"}
_WEIGHTS = {  # the first that is there is taken
    "transformers": ("model.safetensors", "pytorch_model.bin"),
    "open_clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
}
# Of the names in one line, any one will do.
_FILES = {
    "transformers": (
        ("preprocessor_config.json", "processor_config.json"),
        ("tokenizer.json",),
        ("tokenizer_config.json",),
        _WEIGHTS["transformers"],
    ),
    "open_clip": (("tokenizer.json",), ("tokenizer_config.json",), _WEIGHTS["open_clip"]),
}


@dataclass(frozen=True)
class EncoderSource:
    """Where an encoder's weights come from.

    Attributes:
        name: its name in the catalogue.
        model: hub id or folder, as the user gave it.
        revision: commit on the hub; for a folder "sha256:" and the digest of its files.
        path: folder with the files, or the hub id while they are still to be downloaded.
    """

    name: HubEncoderName
    model: str
    revision: str
    path: str = field(compare=False)

    @property
    def identity(self) -> str:
        """What names the vectors: the same for the same files in another folder."""
        if self.revision.startswith("sha256:"):
            return f"{self.name} {self.revision}"
        return f"{self.name} {self.model}@{self.revision}"


def resolve_source(
    name: HubEncoderName, model: str | None = None, revision: str | None = None, token: str | None = None
) -> EncoderSource:
    """Find out what an encoder's name stands for, without loading or downloading weights.

    A folder is read whole, once a process, for its digest. Of a model on the hub only the configuration is fetched;
    what lies in the hub's cache works without a network.

    Args:
        name: the encoder.
        model: hub id or folder of another checkpoint of the same class, or None for the catalogue's.
        revision: commit, tag or branch on the hub, or None for the catalogue's commit (of another model: the newest);
            for a folder None, or the digest that it must have.
        token: access token of the hub, or None for the one of `HF_TOKEN` or of `hf auth login`.

    Returns:
        The source, with its revision pinned.

    Raises:
        InputError: the hub has no such encoder, there is no such model or revision, or it is of another class.
    """
    published = published_model(name)
    model = model or published.model
    folder = Path(model).expanduser()
    if folder.is_dir():
        _check_files(name, folder)
        return EncoderSource(name, model, hub.pin_folder(model, revision, _SUFFIXES), str(folder))
    if model == published.model:
        revision = revision or published.revision
    snapshot = hub.download(model, revision, token, [_CONFIG[published.layout]])
    _check_config(name, snapshot)
    return EncoderSource(name, model, snapshot.name, model if _missing(name, snapshot) else str(snapshot))


def fetch(source: EncoderSource, token: str | None = None) -> Path:
    """Return the folder with a source's files, downloading what is missing and checking that all is there.

    Safetensors are preferred; a pickle is downloaded only where there are none.

    Args:
        source: what `resolve_source` gave.
        token: access token of the hub, as there.

    Returns:
        The folder.

    Raises:
        InputError: the files cannot be had, or are damaged.
    """
    folder = Path(source.path)
    if not folder.is_dir():
        safetensors, pickled = _WEIGHTS[published_model(source.name).layout]
        folder = hub.download(source.model, source.revision, token, ["*.json", "*.txt", safetensors])
        if not (folder / safetensors).is_file():
            folder = hub.download(source.model, source.revision, token, [pickled])
    _check_files(source.name, folder)
    return folder


def published_model(name: str) -> HubModel:
    """Look an encoder up in the catalogue of those on the hub.

    Args:
        name: the encoder.

    Returns:
        Its id, commit and licence.

    Raises:
        InputError: it is none of them.
    """
    for known, model in HUB_MODELS.items():
        if known == name:
            return model
    raise InputError(f"The Hugging Face hub has no encoder {name!r}; choose one of: {', '.join(HUB_MODELS)}.")


def weights_file(name: HubEncoderName, folder: Path) -> Path:
    """Find the weights in a folder that `fetch` gave.

    Args:
        name: the encoder.
        folder: the folder.

    Returns:
        The safetensors file, or where there is none the pickle.
    """
    safetensors, pickled = (folder / file for file in _WEIGHTS[published_model(name).layout])
    return safetensors if safetensors.is_file() else pickled


def _check_files(name: HubEncoderName, folder: Path) -> None:
    _check_config(name, folder)
    if missing := _missing(name, folder):
        raise InputError(
            f"The checkpoint in {folder} lacks {', '.join(missing)}; supply all files of the model: configuration, "
            "image processor, tokenizer and weights."
        )
    weights = weights_file(name, folder)
    if weights.suffix == ".safetensors":
        hub.require_safetensors(weights)
    else:
        hub.require_archive(weights)


def _missing(name: HubEncoderName, folder: Path) -> list[str]:
    choices = _FILES[published_model(name).layout]
    return [" or ".join(files) for files in choices if not any((folder / file).is_file() for file in files)]


def _check_config(name: HubEncoderName, folder: Path) -> None:
    published = published_model(name)
    config = hub.read_json(folder / _CONFIG[published.layout])
    if published.layout == "transformers":
        fits = config.get("model_type") == "clip"
    else:
        model = _entry(config, "model_cfg")
        fits = "timm_model_name" in _entry(model, "vision_cfg") and "hf_model_name" in _entry(model, "text_cfg")
    if not fits:
        raise InputError(
            f"The checkpoint in {folder} is of another class than {name} ({published.model}); give a folder or hub id "
            "with a model of the same class."
        )


def _entry(config: dict[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    return value if isinstance(value, dict) else {}
