"""The ways to search by which an encoder is judged, each with its level of chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.choices import Similarity
from tasks.records.classification import EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord
from tasks.retrieval.metrics import chance, conditioned, ranking
from tasks.retrieval.metrics.ranking import RankingResult
from tasks.retrieval.settings import STANDARD_K
from tasks.retrieval.vectors import LabelledVectors, read_splits
from tasks.storage.store import Store


@dataclass(frozen=True)
class Protocol:
    """One way to search, its result and its level of chance.

    Attributes:
        name: as shown in figures and tables.
        result: what was measured per query.
        chance: what a random ranking would score per query.
    """

    name: str
    result: RankingResult
    chance: RankingResult


@dataclass(frozen=True)
class Protocols:
    """All protocols over the same queries.

    Attributes:
        ranked: by prefix of their metrics: `loo`, each test image searched among the others; `gallery`, in the train
            split; `conditioned`, among the other test images of the predicted class.
        true_class: searched among those of the true class, the upper bound of `conditioned`.
    """

    ranked: dict[str, Protocol]
    true_class: RankingResult

    def per_query(self) -> dict[str, NDArray[np.float64]]:
        """Name the values per query: `loo_precision_at_5` for instance, each of shape (queries,)."""
        return {
            f"{prefix}_{name}": values
            for prefix, protocol in self.ranked.items()
            for name, values in protocol.result.values.items()
        }

    def metrics(self, class_names: Sequence[str], *, samples: int, seed: int) -> dict[str, float]:
        """Name the means over queries with their 95 % intervals, and the levels of chance.

        Args:
            class_names: by label.
            samples: bootstrap samples.
            seed: seed of the bootstrap.

        Returns:
            `loo/…`, `gallery/…` and `conditioned/…` with intervals, `chance/loo/…`, `chance/gallery/…`, and
            `conditioned_true_class/precision_at_K`, which is 1 by construction.
        """
        found: dict[str, float] = {}
        for prefix, protocol in self.ranked.items():
            found |= ranking.summarize(protocol.result, prefix, class_names, samples=samples, seed=seed)
            if prefix != "conditioned":  # whose gallery hangs on the classifier
                found |= ranking.means(protocol.chance, f"chance/{prefix}", class_names)
        upper = {name for name in self.true_class.values if name.startswith("precision_at_")}
        return found | {f"conditioned_true_class/{name}": self.true_class.mean(name) for name in sorted(upper)}


def rank(
    test: LabelledVectors,
    train: LabelledVectors,
    predicted: NDArray[np.integer],
    k_values: Sequence[int],
    similarity: Similarity = "cosine",
    grades: int | None = None,
) -> Protocols:
    """Rank the test images by every protocol, which takes some hundredths of a second.

    Args:
        test: the queries.
        train: the gallery of the second protocol.
        predicted: class that the classifier predicts for each query, shape (queries,).
        k_values: cut-offs.
        similarity: by which images are near.
        grades: number of classes where they are grades, which adds graded metrics but to the conditioned protocol, all
            of whose hits have one grade; None where they have no order.

    Returns:
        The protocols.

    Raises:
        InputError: as `ranking.evaluate`.
    """
    vectors, labels = test.vectors, test.labels
    ids = np.arange(len(labels), dtype=np.int64)
    train_ids = len(ids) + np.arange(len(train.labels), dtype=np.int64)  # no train image is a test image
    expected = chance.leave_one_out(labels, ids, k_values, grades)
    by_class = [
        conditioned.evaluate(vectors, labels, classes, vectors, labels, ids, ids, k_values, similarity)
        for classes in (predicted, labels)
    ]
    ranked = {
        "loo": Protocol(
            "leave-one-out",
            ranking.evaluate(vectors, labels, vectors, labels, ids, ids, k_values, similarity, grades),
            expected,
        ),
        "gallery": Protocol(
            "test → train",
            ranking.evaluate(
                vectors, labels, train.vectors, train.labels, ids, train_ids, k_values, similarity, grades
            ),
            chance.from_gallery(labels, ids, train.labels, k_values, grades),
        ),
        "conditioned": Protocol("predicted class", by_class[0], expected),
    }
    return Protocols(ranked, by_class[1])


def read_protocols(
    store: Store,
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    k_values: Sequence[int],
) -> Protocols:
    """Rank the stored vectors by every protocol, at the standard cut-offs and at those asked for."""
    test, train = read_splits(store, dataset, embeddings, "test", "train")
    predicted = store.get_arrays(evaluation.predictions)["predicted"]
    grades = len(dataset.labels) if dataset.graded else None
    return rank(test, train, predicted, sorted({*STANDARD_K, *k_values}), embeddings.similarity, grades)
