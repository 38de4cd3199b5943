"""Nearest neighbours of embeddings with FAISS: exact, along a graph (HNSW), or in inverted lists (IVF)."""

from models.vector_index.building import build
from models.vector_index.index import VectorIndex
from models.vector_index.kinds import Kind, Metric
from models.vector_index.neighbours import CLOSENESS, Neighbours, closeness
from models.vector_index.normalization import finite_rows, normalize
from models.vector_index.recall import recall_at
from models.vector_index.shards import Shard
from models.vector_index.storage import dump, load

__all__ = [
    "CLOSENESS",
    "Kind",
    "Metric",
    "Neighbours",
    "Shard",
    "VectorIndex",
    "build",
    "closeness",
    "dump",
    "finite_rows",
    "load",
    "normalize",
    "recall_at",
]
