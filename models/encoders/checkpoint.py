"""Which files make the checkpoint of a published encoder, and where they come from.

Nothing here imports torch or transformers, so that a machine which only plans the work resolves an encoder in a moment.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import InputError


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from. Two are equal when they hold the same files, wherever those lie.

    Attributes:
        encoder: name of the encoder.
        model: hub id or folder, as the user gave it.
        revision: commit on the hub; for a folder "sha256:" and the digest of its files.
        path: folder with the files, or the hub id while they are still to be downloaded.
        random_weights: whether the weights say of themselves that they were never trained.
    """

    encoder: str
    model: str
    revision: str
    path: str = field(compare=False)
    random_weights: bool = field(default=False, compare=False)

    @property
    def is_folder(self) -> bool:
        """Whether the files were given as a folder."""
        return self.revision.startswith("sha256:")

    @property
    def identity(self) -> str:
        """What makes the embeddings: the same for the same files in another folder."""
        return f"{self.encoder} {self.revision}" if self.is_folder else f"{self.encoder} {self.model}@{self.revision}"


@dataclass(frozen=True)
class Layout:
    """The files of a kind of checkpoint.

    Attributes:
        title: what such a checkpoint is, "a CLIP model" for instance.
        config: file with the configuration of the network.
        fits: whether a configuration is that of such a checkpoint.
        others: further files, as choices: of the names in one tuple any one will do.
        safetensors: file with the weights.
        pickle: file with the weights of an older checkpoint, which is read where there are no safetensors.
    """

    title: str
    config: str
    fits: Callable[[dict[str, Any]], bool]
    others: tuple[tuple[str, ...], ...]
    safetensors: str
    pickle: str

    def weights(self, folder: Path) -> Path:
        """Find the weights in a folder that `require` has passed."""
        return next(path for path in (folder / self.safetensors, folder / self.pickle) if path.is_file())

    def missing(self, folder: Path) -> list[str]:
        """Name the files that a folder lacks beside the configuration."""
        choices = (*self.others, (self.safetensors, self.pickle))
        return [" or ".join(files) for files in choices if not any((folder / file).is_file() for file in files)]

    def require_config(self, folder: Path, encoder: str) -> dict[str, Any]:
        """Refuse a folder with the configuration of another kind of network.

        Args:
            folder: the folder.
            encoder: name of the encoder that it is for.

        Returns:
            The configuration.

        Raises:
            InputError: there is no configuration, or it is of another kind.
        """
        from models import hub

        config = hub.read_json(folder / self.config)
        if not self.fits(config):
            raise InputError(
                f"The checkpoint in {folder} is of another class than {encoder}, which is {self.title}; give a folder "
                "or hub id with a model of the same class."
            )
        return config

    def require(self, folder: Path, encoder: str) -> dict[str, Any]:
        """Refuse a folder that lacks a file, or whose weights are damaged; no tensor is read.

        Args:
            folder: the folder.
            encoder: name of the encoder that it is for.

        Returns:
            The configuration.

        Raises:
            InputError: a file is missing or damaged, or the network is of another kind.
        """
        from models import hub

        config = self.require_config(folder, encoder)
        if missing := self.missing(folder):
            raise InputError(
                f"The checkpoint in {folder} lacks {', '.join(missing)}; supply all files of the model: configuration, "
                "image processor, tokenizer and weights."
            )
        weights = self.weights(folder)
        (hub.require_safetensors if weights.name == self.safetensors else hub.require_archive)(weights)
        return config


def is_random(config: dict[str, Any]) -> bool:
    """Tell whether the configuration of a checkpoint says that its weights were never trained."""
    from models import hub

    return config.get(hub.RANDOM_WEIGHTS_MARK) is True
