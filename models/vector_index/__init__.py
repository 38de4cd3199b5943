"""Nearest neighbours of embeddings with FAISS: exact, along a graph (HNSW), or in inverted lists (IVF)."""

from models.vector_index.building import build
from models.vector_index.index import VectorIndex
from models.vector_index.kinds import Kind, Metric
from models.vector_index.neighbours import Neighbours
from models.vector_index.normalization import normalize
from models.vector_index.recall import recall_at
from models.vector_index.shards import Shard
from models.vector_index.storage import dump, load

__all__ = [
    "Kind",
    "Metric",
    "Neighbours",
    "Shard",
    "VectorIndex",
    "build",
    "dump",
    "load",
    "normalize",
    "recall_at",
]
