"""Vectors that resemble the embeddings of images, in files, for benchmarks of any size.

A mixture of some thousand centres in a subspace of low dimension, spread within that subspace so that neighbouring
clusters overlap, and a little noise in every direction. Independent normal vectors would all be equally far from each
other, and no index can find neighbours where there are none.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.vector_index import Shard

DIMENSIONS = 512
CENTRES = 5000  # more than an index of 10⁶ has lists, so that these cannot simply be the clusters
INTRINSIC_DIMENSIONS = 32
SPREAD = 0.6  # within a cluster, where centres have standard deviation 1
NOISE = 0.05  # a sixth of a vector's length
SHARD = 50_000


def draw(size: int, part: int) -> NDArray[np.float32]:
    """Draw vectors, shape (size, DIMENSIONS); other parts are other vectors of the same mixture."""
    mixture = np.random.default_rng(0)
    centres = mixture.normal(size=(CENTRES, INTRINSIC_DIMENSIONS)).astype(np.float32)
    basis = np.linalg.qr(mixture.normal(size=(DIMENSIONS, INTRINSIC_DIMENSIONS)))[0].T.astype(np.float32)
    generator = np.random.default_rng([0, part])
    inside = centres[generator.integers(CENTRES, size=size)]
    inside += SPREAD * generator.standard_normal((size, INTRINSIC_DIMENSIONS), dtype=np.float32)
    return inside @ basis + NOISE * generator.standard_normal((size, DIMENSIONS), dtype=np.float32)


class EmbeddingFiles:
    """Shards of vectors in a folder, read one at a time."""

    def __init__(self, folder: Path, size: int):
        self.folder = folder
        self.size = size

    def write(self) -> "EmbeddingFiles":
        """Draw all vectors; the queries are part 0."""
        for start in range(0, self.size, SHARD):
            part = 1 + start // SHARD
            np.save(self.folder / f"{part}.npy", draw(min(SHARD, self.size - start), part))
        return self

    def __iter__(self) -> Iterator[Shard]:
        for start in range(0, self.size, SHARD):
            vectors = np.load(self.folder / f"{1 + start // SHARD}.npy")
            yield vectors, np.arange(start, start + len(vectors)), np.zeros(len(vectors), dtype=np.int64)
