"""Features of images as the language model takes them in, each made once."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.report_generation.medgemma.batching import BatchCeiling, run_batches
from models.report_generation.medgemma.faults import free_memory, is_fatal, is_out_of_memory
from models.report_generation.medgemma.gemma3 import image_features


class ImageEncoder:
    """Image features, each made when it is first asked for and kept in main memory until its last use."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        ceiling: BatchCeiling,
        images: NDArray[np.uint8],
        uses: Sequence[int],
    ) -> None:
        """Prepare to encode images.

        Args:
            model: the network.
            processor: its image processor and what belongs to it.
            ceiling: images in the largest batch; it falls where the memory does not suffice.
            images: shape (images, height, width), 0–255; grey.
            uses: positions of the images that will be asked for, each as often as it will be released.
        """
        self._model = model
        self._processor = processor
        self._ceiling = ceiling
        self._images = images
        self._uses_left = Counter(uses)
        self._features: dict[int, torch.Tensor] = {}

    def features(self, positions: Sequence[int]) -> torch.Tensor:
        """Return the features of images, shape (positions, tokens, width), in main memory.

        Raises:
            ValueError: one of them cannot be encoded, not even alone.
        """
        missing = [position for position in dict.fromkeys(positions) if position not in self._features]
        for batch in run_batches(
            missing,
            self._encode,
            self._ceiling,
            is_out_of_memory=is_out_of_memory,
            is_fatal=is_fatal,
            free_memory=free_memory,
        ):
            for position, error in batch.failed:
                # No RuntimeError, whose message could pass for one that fewer prompts would cure.
                raise ValueError(f"image {position} cannot be encoded ({error})")
            self._features.update(batch.done)
        return torch.stack([self._features[position] for position in positions])

    def release(self, positions: Sequence[int]) -> None:
        """Count off one use of each image, and forget those that were used for the last time."""
        for position in positions:
            self._uses_left[position] -= 1
            if not self._uses_left[position]:
                self._features.pop(position, None)

    def _encode(self, positions: Sequence[int]) -> list[torch.Tensor]:
        encoded = image_features(self._model, self._processor, [self._images[position] for position in positions])
        return [feature.clone() for feature in encoded.cpu()]  # a view would keep the whole batch in memory
