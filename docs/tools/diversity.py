"""What diversity costs in precision: `OUTPUTS=… python -m docs.tools.diversity [ENCODER]`.

It prints the table of docs/retrieval.md from the published index of an encoder: each test image is searched for in the
train split, and of ten times as many candidates five are kept by maximal marginal relevance.
"""

import sys
from collections.abc import Sequence

import numpy as np

from models.vector_index import normalize
from models.vector_index.diversity import diversify
from tasks.retrieval.case_search import CANDIDATES
from tasks.retrieval.published.publication import find_published
from tasks.retrieval.vectors import read_index, read_splits
from tasks.shared.markdown import table
from tasks.storage.store import Store

K = 5
DIVERSITIES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)


def main(arguments: Sequence[str]) -> int:
    """Print the table for the encoder that is named, or for `classifier`."""
    searchable, store = find_published((*arguments, "classifier")[0]), Store()
    test, train = read_splits(store, searchable.dataset, searchable.embeddings, "test", "train")
    members = searchable.index.offsets["train"] + np.arange(len(train.labels))
    index = read_index(store, searchable.index)
    found = index.search(test.vectors, CANDIDATES * K, encoder=searchable.encoder.identity, allowed=members)
    candidates = found.ids - searchable.index.offsets["train"]
    rows = []
    for diversity in DIVERSITIES:
        precision, alike = [], []
        for vector, label, near in zip(test.vectors, test.labels, candidates, strict=True):
            kept = near[diversify(vector, train.vectors[near], K, diversity)]
            precision.append((train.labels[kept] == label).mean())
            unit = normalize(train.vectors[kept])
            alike.append((unit @ unit.T)[np.triu_indices(K, 1)].mean())
        rows.append((f"{diversity:g}", f"{np.mean(precision):.3f}", f"{np.mean(alike):.3f}"))
    sys.stdout.write(table(("diversity", "precision@5, test → train", "mean cosine among the five"), rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
