"""Checkpoints by name: a folder, or the Hugging Face hub at a pinned commit.

Nothing here imports torch or transformers, so that a machine which only plans the work resolves a model in a moment.
"""

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

from models.bounded_file import read_file
from models.bounded_json import parse_json
from models.bounds import JSON_BYTES, SAFETENSORS_HEADER_BYTES
from models.errors import InputError
from models.text import printable
from models.zip_archive import open_archive

RANDOM_WEIGHTS_MARK = "random_weights"
"""Field of a configuration that is true in a checkpoint whose weights were never trained."""

_UNAUTHORISED = 401


def download(model: str, revision: str | None, token: str | None, patterns: list[str]) -> Path:
    """Fetch files of a model on the hub; what lies in the hub's cache works without a network.

    Args:
        model: hub id.
        revision: commit, tag or branch, or None for the newest.
        token: access token of the hub, or None for the one of `HF_TOKEN` or of `hf auth login`.
        patterns: names of the files, with wildcards; subfolders are left out.

    Returns:
        The folder in the cache, named after the commit.

    Raises:
        InputError: there is no such model or revision, it may not be read, or the hub cannot be reached.
    """
    token = _clean(token)
    with _errors_in_words(model, revision):
        return Path(
            snapshot_download(
                model,
                revision=revision,
                token=token,
                endpoint=os.environ.get("HF_ENDPOINT"),
                allow_patterns=patterns,
                ignore_patterns=["*/*"],
                local_files_only=not _answers(model, revision, token),
            )
        )


def cached(model: str, commit: str) -> Path | None:
    """Find what this machine's cache holds of a model, without asking the hub: a commit never changes.

    Args:
        model: hub id.
        commit: commit on the hub.

    Returns:
        The folder, which may lack files; None where there is none.
    """
    try:
        return Path(snapshot_download(model, revision=commit, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def pin_folder(model: str, revision: str | None, suffixes: Iterable[str]) -> str:
    """Name the content of a folder by a digest; it is read whole, once a process.

    Args:
        model: the folder, as the user gave it.
        revision: None, or the digest that the folder must have.
        suffixes: what the names of the files that count end in.

    Returns:
        "sha256:" and the digest of the names and contents of its files.

    Raises:
        InputError: the folder has another digest.
    """
    digest = _folder_digest(Path(model).expanduser(), tuple(suffixes))
    if revision not in (None, digest):
        raise InputError(f'{model} is {digest}, not "{revision}"; give no revision for a folder, or that digest.')
    return digest


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that belongs to a checkpoint.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """
    try:
        content = parse_json(read_file(path, JSON_BYTES))
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} is no checkpoint: it has no {path.name}; give the folder that holds the model's files."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as JSON ({printable(error)}); copy or download the file again."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; copy or download the file again.")
    return content


def require_safetensors(path: Path) -> None:
    """Refuse a safetensors file that is damaged or cut off, without reading its tensors.

    Args:
        path: the file.

    Raises:
        InputError: its header and its length do not belong together.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > SAFETENSORS_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes, more than {SAFETENSORS_HEADER_BYTES}")
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"The weights in {path} are damaged or cut off ({printable(error)}); copy or download the file again."
        ) from error


def require_archive(path: Path) -> None:
    """Refuse pickled weights whose archive is damaged or breaks a bound, without reading a member.

    Args:
        path: the file; one of before PyTorch 1.6, which is no archive, passes.

    Raises:
        InputError: the archive cannot be opened.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                open_archive(file, path.stat().st_size).close()
    except Exception as error:  # of whatever kind zipfile raises
        raise InputError(
            f"The weights in {path} are damaged ({printable(error)}); copy or download the file again."
        ) from error


def _answers(model: str, revision: str | None, token: str | None) -> bool:
    # Of a commit, snapshot_download would ask six times in half a minute before it gave up.
    try:
        HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token).model_info(model, revision=revision or "main")
    except HfHubHTTPError:
        return True  # though with a refusal, which snapshot_download meets too
    except Exception:  # of an HTTP library that differs from version to version
        return False
    return True


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
def _errors_in_words(model: str, revision: str | None) -> Iterator[None]:
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
            f"The Hugging Face hub has no model {model}, or does not show it to everybody; check the id (owner/name), "
            f"{supply}, or give a folder with the checkpoint."
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
            "of the form owner/name."
        )
    else:
        return
    raise InputError(message) from None  # whatever the hub said: it may repeat the token


def _folder_digest(folder: Path, suffixes: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in suffixes and path.is_file()):
        state = path.stat()
        total.update(f"{path.name} {_file_digest(path, state.st_size, state.st_mtime_ns)}\n".encode())
    return f"sha256:{total.hexdigest()}"


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed_ns: int) -> str:
    # Size and time of change only make the cache forget a file that was written anew.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
