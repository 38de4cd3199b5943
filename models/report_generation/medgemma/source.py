"""Where a checkpoint's files come from: a folder, or the Hugging Face hub at a pinned commit.

Nothing here imports torch or transformers, so that a machine which only plans the work resolves a model in a moment.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

from models.errors import InputError

RANDOM_WEIGHTS_MARK = "random_weights"
"""Field of `config.json` that is true in a checkpoint whose weights were never trained."""

_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_PROCESSOR_FILES = ("processor_config.json", "tokenizer_config.json", "tokenizer.json")
_SUFFIXES = (".json", ".jinja", ".model", ".safetensors")
_UNAUTHORISED = 401


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
        digest = _folder_digest(folder)
        if revision not in (None, digest):
            raise InputError(
                f'The checkpoint in {model} is {digest}, not "{revision}"; give no revision for a folder, or the '
                "digest that its files must have."
            )
        return Source(model, digest, str(folder), _is_random(config))
    snapshot = _download(model, revision, token, [_CONFIG])
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
        folder = _download(source.model, source.revision, token, [f"*{suffix}" for suffix in _SUFFIXES])
    _check_files(folder)
    return folder


def _download(model: str, revision: str | None, token: str | None, patterns: list[str]) -> Path:
    with _hub_errors_in_words(model, revision):
        return Path(
            snapshot_download(
                model,
                revision=revision,
                token=_clean(token),
                endpoint=os.environ.get("HF_ENDPOINT"),
                allow_patterns=patterns,
                ignore_patterns=["*/*"],
            )
        )


def _clean(token: str | None) -> str | None:
    # A character that no header may hold would put the token into the HTTP library's error message.
    if token is None or not token.strip():
        return None
    if not re.fullmatch(r"[!-~]+", token.strip()):
        raise InputError(
            "The access token for the Hugging Face hub holds blanks or characters that no token has; copy it again "
            "from https://huggingface.co/settings/tokens."
        )
    return token.strip()


@contextmanager
def _hub_errors_in_words(model: str, revision: str | None) -> Iterator[None]:
    page = f"https://huggingface.co/{model}"
    supply = "supply an access token (HF_TOKEN, or the token block in Prefect)"
    try:
        yield
    except GatedRepoError as error:
        if error.response.status_code == _UNAUTHORISED:
            message = f"{model} is gated and no access token was given; accept its licence at {page} and {supply}."
        else:
            message = (
                f"The account of the access token has not accepted the licence of {model}, or the token may not read "
                f"gated models; accept the licence at {page} and allow the token to read gated models."
            )
    except RevisionNotFoundError:
        message = f'{model} has no revision "{revision}"; take a commit, tag or branch from {page}/commits/main.'
    except RepositoryNotFoundError:
        message = (
            f"The Hugging Face hub has no model {model}, or does not show it to everybody; check the id "
            f"(google/medgemma-4b-it, say), {supply}, or give a folder with the checkpoint."
        )
    except LocalEntryNotFoundError:
        message = (
            f"{model} is not in this machine's cache and the Hugging Face hub cannot be reached; connect to it, or "
            "bring the checkpoint in a folder (`hf download` elsewhere) and give the folder as the model."
        )
    except HfHubHTTPError as error:
        if error.response.status_code == _UNAUTHORISED:
            message = f"The Hugging Face hub refuses the access token; {supply} that is valid to read {model}."
        else:
            message = (
                f"The Hugging Face hub answered {error.response.status_code} for {model}; try again later, or give a "
                "folder with the checkpoint as the model."
            )
    except HFValidationError:
        message = (
            f"{model} is neither a folder nor an id on the Hugging Face hub; give the folder of a checkpoint, or an id "
            "such as google/medgemma-4b-it."
        )
    else:
        return
    raise InputError(message)


def _check_files(folder: Path) -> dict[str, Any]:
    config = _read_config(folder)
    missing = [name for name in (*_PROCESSOR_FILES, *_weight_files(folder)) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"The checkpoint in {folder} lacks {', '.join(missing)}; supply all files of the model: configuration, "
            "processor, tokenizer and weights."
        )
    for name in _weight_files(folder):
        try:
            with safe_open(folder / name, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"The weights in {folder / name} are damaged or cut off ({error}); copy or download the file again."
            ) from error
    return config


def _read_config(folder: Path) -> dict[str, Any]:
    config = _read_json(folder / _CONFIG)
    if config.get("model_type") != "gemma3" or "vision_config" not in config:
        raise InputError(
            f"The checkpoint in {folder} is of the type {config.get('model_type')!r}, not Gemma 3 with vision; choose "
            "MedGemma 4B or another model of the type 'gemma3'."
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
    shards = _read_json(folder / _INDEX).get("weight_map", {})
    return sorted(set(shards.values()))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} is no checkpoint: it has no {path.name}; give the folder that holds the model's files."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); copy or download the file again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; copy or download the file again.")
    return content


def _is_random(config: dict[str, Any]) -> bool:
    return config.get(RANDOM_WEIGHTS_MARK) is True


def _folder_digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file()):
        state = path.stat()
        total.update(f"{path.name} {_file_digest(path, state.st_size, state.st_mtime_ns)}\n".encode())
    return f"sha256:{total.hexdigest()}"


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed_ns: int) -> str:
    # Size and time of change only make the cache forget a file that was written anew.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
