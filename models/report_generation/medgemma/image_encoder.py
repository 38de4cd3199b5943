"""Features of images as the language model takes them in, each made once."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.report_generation.medgemma.batching import run_batches
from models.report_generation.medgemma.faults import free_memory, is_fatal, is_out_of_memory
from models.report_generation.medgemma.gemma3 import image_features


class ImageEncoder:
    """Image features, each made when it is first asked for and kept in main memory until its last use."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        limit: int,
        images: NDArray[np.uint8],
        uses: Sequence[int],
        known: Sequence[int] = (),
    ) -> None:
        """Prepare to encode images.

        Args:
            model: the network.
            processor: its image processor and what belongs to it.
            limit: images in the largest batch; it falls where the memory does not suffice.
            images: shape (images, height, width), 0–255; grey.
            uses: positions of the images that will be asked for, each as often as it will be released.
            known: positions of all images of the task, which decide the images that are encoded together: so a resumed
                run encodes them as an undisturbed one. None for those of `uses`.
        """
        self._model = model
        self._processor = processor
        self._limit = limit
        self._images = images
        self._uses_left = Counter(uses)
        self._features: dict[int, torch.Tensor] = {}
        self._errors: dict[int, str] = {}
        order = list(dict.fromkeys((*known, *uses)))
        groups = [order[first : first + limit] for first in range(0, len(order), limit)]
        self._group_of = {position: group for group in groups for position in group}

    def features(self, positions: Sequence[int]) -> torch.Tensor:
        """Return the features of images, shape (positions, tokens, width), in main memory.

        Raises:
            ValueError: one of them cannot be encoded, not even alone.
        """
        for position in positions:
            if position not in self._features and position not in self._errors:
                self._encode_group(position)
            if position in self._errors:
                # No RuntimeError, whose message could pass for one that fewer prompts would cure.
                raise ValueError(f"image {position} cannot be encoded ({self._errors[position]})")
        return torch.stack([self._features[position] for position in positions])

    def release(self, positions: Sequence[int]) -> None:
        """Count off one use of each image, and forget those that were used for the last time."""
        for position in positions:
            self._uses_left[position] -= 1
            if not self._uses_left[position]:
                self._features.pop(position, None)

    def _encode_group(self, wanted: int) -> None:
        """Encode an image with all those beside which it stands in any run; of those, keep what is still needed."""
        for batch in run_batches(
            self._group_of.get(wanted, [wanted]),
            self._encode,
            self._limit,
            is_out_of_memory=is_out_of_memory,
            is_fatal=is_fatal,
            free_memory=free_memory,
        ):
            self._limit = batch.limit
            self._errors.update(batch.failed)
            for position, made in batch.done:
                if position == wanted or self._uses_left[position] > 0:
                    self._features[position] = made

    def _encode(self, positions: Sequence[int]) -> list[torch.Tensor]:
        encoded = image_features(self._model, self._processor, [self._images[position] for position in positions])
        return [feature.clone() for feature in encoded.cpu()]  # a view would keep the whole batch in memory
