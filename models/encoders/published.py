"""What the published encoders have in common: an image tower, mostly a text tower, and a checkpoint on the hub."""

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.encoders.checkpoint import Layout, Source, is_random
from models.encoders.encoder import Encoder
from models.errors import InputError
from models.text import printable

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin")
_TEXTS_PER_PASS = 64


class PublishedEncoder(Encoder):
    """An image tower, and a text tower in the same space if it reads texts, of the Hugging Face hub or a folder.

    On a CPU everything is computed in float32; on a GPU that has it in bf16, except for the embeddings themselves.

    Args:
        source: what `resolve` gave, on another machine perhaps.
        device: "cpu" or "cuda".
        token: access token of the hub, or None for the one of `HF_TOKEN` or of `hf auth login`.

    Attributes:
        model: hub id of the checkpoint that it takes by default, to which the licence belongs.
        revision: commit of it.
        gated: whether the hub gives it only to who has accepted its licence.
        layout: files of its checkpoint.

    Raises:
        InputError: the files cannot be had, are damaged or do not belong together, or there is no such device.
    """

    reads_text = True
    model: ClassVar[str]
    revision: ClassVar[str]
    gated: ClassVar[bool] = False
    layout: ClassVar[Layout]

    def __init__(self, source: Source, device: str = "cpu", token: str | None = None) -> None:
        import torch

        super().__init__(device=device)
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError(
                f"There is no GPU that PyTorch can use on this machine; run {self.name} on the device cpu, or on a "
                "worker of the `gpu` pool."
            )
        folder = self.fetch(source, token)
        try:
            self._model: Any = self._load(folder)
        except InputError:
            raise
        except Exception as error:  # damaged files raise many types, tokenizers even bare Exception
            raise InputError(
                f"The checkpoint of {self.name} in {folder} cannot be read ({type(error).__name__}); copy or "
                "download its files again."
            ) from error
        self._model.to(device).eval().requires_grad_(False)
        self._busy = threading.Lock()
        self._bf16 = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        self._try_out(folder)

    def _try_out(self, folder: Path) -> None:
        """Embed one image and one text, before anything is computed that would be lost."""
        import torch

        try:
            vectors = [self.encode_images(np.zeros((1, 28, 28), np.uint8))]
            vectors += [self.encode_texts(["chest radiograph"])] if self.reads_text else []
        except (InputError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # of as many types as there are ways to contradict each other
            raise InputError(
                f"The files of the checkpoint of {self.name} in {folder} do not belong together "
                f"({printable(error, 100)}); copy or download all of one checkpoint."
            ) from error
        if not all(np.isfinite(each).all() for each in vectors):
            raise InputError(
                f"The checkpoint of {self.name} in {folder} embeds a picture or a text as what is no finite number; "
                "copy or download its files again."
            )

    @classmethod
    def resolve(cls, model: str | None = None, revision: str | None = None, token: str | None = None) -> Source:
        """Find a checkpoint and pin it, without loading or downloading weights.

        A folder is read whole, once per process, for its digest. Of a model on the hub only the configuration is
        fetched; what lies in the hub's cache works without a network.

        Args:
            model: hub id or folder of another checkpoint of the same layout, or None for the default.
            revision: commit, tag or branch on the hub, or None for the default commit (of another model: the newest);
                for a folder None, or the digest that it must have.
            token: access token of the hub, as for the class.

        Returns:
            The source, with its revision pinned.

        Raises:
            InputError: there is no such model or revision, or it is of another layout.
        """
        from models import hub

        model = model or cls.model
        folder = Path(model).expanduser()
        if folder.is_dir():
            random = is_random(cls.layout.require(folder, cls.name))
            return Source(cls.name, model, hub.pin_folder(model, revision, _SUFFIXES), str(folder), random)
        if model == cls.model:
            revision = revision or cls.revision
        snapshot = hub.download(model, revision, token, [cls.layout.config])
        random = is_random(cls.layout.require_config(snapshot, cls.name))
        path = model if cls.layout.missing(snapshot) else str(snapshot)
        return Source(cls.name, model, snapshot.name, path, random)

    @classmethod
    def fetch(cls, source: Source, token: str | None = None) -> Path:
        """Return the folder with a checkpoint, downloading what is missing and checking that all is there.

        Safetensors are preferred; a pickle is downloaded only where there are none.

        Args:
            source: what `resolve` gave.
            token: access token of the hub, as for the class.

        Returns:
            The folder.

        Raises:
            InputError: the files cannot be had, are damaged, or have changed since.
        """
        from models import hub

        if source.is_folder:
            return Path(cls.resolve(source.path, source.revision).path)
        folder, layout = Path(source.path), cls.layout
        if not folder.is_dir() and (kept := hub.cached(source.model, source.revision)) and not layout.missing(kept):
            folder = kept
        if not folder.is_dir():
            patterns = ["*.json", "*.txt", "*.model", layout.safetensors]
            folder = hub.download(source.model, source.revision, token, patterns)
            if not (folder / layout.safetensors).is_file():
                folder = hub.download(source.model, source.revision, token, [layout.pickle])
        layout.require(folder, cls.name)
        return folder

    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Embed images, as in `Encoder`; grey images are read as colour images of equal channels."""
        grey = images.dtype == np.uint8 and images.ndim == 3
        if not grey and not (images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3):
            raise InputError(
                f"Images are {images.dtype} of shape {images.shape}, but uint8 of shape (images, height, width) or "
                "(images, height, width, 3) is expected; convert them first."
            )

        return self._in_batches(self.features, images, batch_size)

    def features(self, images: NDArray[np.uint8], grid: "nn.Module | None" = None) -> "torch.Tensor":
        """Embed one batch, with a graph where gradients are wanted.

        Args:
            images: shape (images, height, width) or (images, height, width, 3), 0–255.
            grid: what the map of patches passes through where gradients are wanted, shape (images, channels, rows,
                columns): of the layer that `patch_layer` names.

        Returns:
            Embeddings, float32, shape (images, dimension).

        Raises:
            InputError: there is no map of patches.
        """
        import torch

        colour = np.repeat(images[..., None], 3, axis=3) if images.ndim == 3 else np.ascontiguousarray(images)
        with ExitStack() as stack:
            # One at a time: a hook would see the passes of other threads too.
            stack.enter_context(self._busy)
            stack.enter_context(torch.autocast(self.device, torch.bfloat16, enabled=self._bf16))
            if grid is not None and torch.is_grad_enabled():
                stack.enter_context(self._through(grid))
            return self._embed_images(colour).float()

    def patch_layer(self) -> "tuple[nn.Module, int] | None":
        """Find the last layer whose output has a token for each patch of the image that the embedding depends on.

        Returns:
            The layer, its output of shape (images, tokens, channels), and the number of tokens before those of the
            patches; None if the network has none, or it is not known.
        """
        return None

    def require_patches(self) -> "tuple[nn.Module, int]":
        """Return the layer of the patches.

        Raises:
            InputError: there is none.
        """
        if (found := self.patch_layer()) is None:
            raise InputError(
                f"The encoder {self.name} in this checkpoint has no map of patches, so no heat map of it can be drawn; "
                "choose one that is a vision transformer."
            )
        return found

    def _through(self, grid: "nn.Module") -> "RemovableHandle":
        import torch

        layer, before = self.require_patches()

        def pass_through(_: object, inputs: object, tokens: "torch.Tensor") -> "torch.Tensor":
            side = math.isqrt(tokens.shape[1] - before)
            maps = tokens[:, before:].transpose(1, 2).unflatten(2, (side, side))
            patches = grid(maps).flatten(2).transpose(1, 2).to(tokens.dtype)
            return torch.cat([tokens[:, :before], patches], dim=1)

        return layer.register_forward_hook(pass_through)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, as in `Encoder`."""
        self.require_text()
        for position, text in enumerate(texts):
            if not text.strip():
                raise InputError(
                    f"Text {position + 1} of {len(texts)} is empty; describe what the images should show, such as "
                    '"chest radiograph with consolidation".'
                )
        return self._in_batches(self._text_features, list(texts), _TEXTS_PER_PASS)

    def _text_features(self, texts: list[str]) -> "torch.Tensor":
        import torch

        with self._busy, torch.autocast(self.device, torch.bfloat16, enabled=self._bf16):
            return self._embed_texts(texts)

    def _in_batches(self, embed: "Callable[[Any], torch.Tensor]", items: Any, size: int) -> NDArray[np.float32]:
        import torch

        vectors = np.empty((len(items), self.dimension), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(items), size):
                vectors[start : start + size] = embed(items[start : start + size]).float().cpu().numpy()
        return vectors

    @abstractmethod
    def _load(self, folder: Path) -> Any:
        """Read a whole checkpoint; return the network and set `dimension`."""

    @abstractmethod
    def _embed_images(self, images: NDArray[np.uint8]) -> "torch.Tensor":
        """Preprocess and embed one batch, shape (images, height, width, 3)."""

    def _embed_texts(self, texts: list[str]) -> "torch.Tensor":
        """Tokenise and embed one batch, if it reads texts."""
        raise NotImplementedError

    def _require_length(self, fits: bool, longest: int) -> None:
        """Refuse a text rather than cut it."""
        if not fits:
            raise InputError(
                f"A text is too long for the encoder {self.name}, which reads {longest} tokens (about {longest // 2} "
                "words); shorten it."
            )
