"""Nearest neighbours of embeddings with FAISS: exact, by a graph, or by inverted lists."""

from models.vector_index.building import build
from models.vector_index.index import VectorIndex
from models.vector_index.kinds import Kind, Metric, choose_kind
from models.vector_index.neighbours import Neighbours
from models.vector_index.normalization import normalize
from models.vector_index.recall import recall_at
from models.vector_index.shards import Shard
from models.vector_index.storage import dump, load, open_mapped, save

__all__ = [
    "Kind",
    "Metric",
    "Neighbours",
    "Shard",
    "VectorIndex",
    "build",
    "choose_kind",
    "dump",
    "load",
    "normalize",
    "open_mapped",
    "recall_at",
    "save",
]
