"""Steps of the retrieval: embed, index, search, evaluate, project, plot, document.

PyTorch, FAISS, SciPy and Matplotlib take seconds to import, so each step imports what it needs when it runs: a run of
hits needs none of them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.caching import step
from tasks.parameters import RetrievalParameters
from tasks.records import (
    ArrayRecord,
    ClassifierRecord,
    DatasetRecord,
    DocumentRecord,
    EmbeddingsRecord,
    EvaluationRecord,
    FiguresRecord,
    IndexRecord,
    RetrievalRecord,
)
from tasks.store import Store

if TYPE_CHECKING:
    from tasks.retrieval.chance import Protocol
    from tasks.retrieval.ranking import RankingResult

BOOTSTRAP_SEED = 0
STANDARD_K = (1, 5, 10)  # always evaluated, so that all runs can be compared
FAILURE_K = 5  # cut-off of the failure analysis: Hit@5
WORST = 50


@step
def embed_images(dataset: DatasetRecord, classifier: ClassifierRecord) -> EmbeddingsRecord:
    """Embed the train and test images with the classifier without its head."""
    from models import weights
    from models.prediction import predict
    from models.preprocessing import Normalization

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    model, card = weights.load(store.get(classifier.weights))
    normalization = Normalization(**card["normalization"])
    vectors = {
        split: predict(model, arrays[f"{split}_images"], normalization).embeddings for split in ("train", "test")
    }
    stored = {f"{split}_vectors": found for split, found in vectors.items()}
    stored |= {f"{split}_labels": arrays[f"{split}_labels"] for split in vectors}
    return EmbeddingsRecord(
        encoder=f"{classifier.architecture} {classifier.weights.sha256}",
        dimension=vectors["test"].shape[1],
        vectors=store.put_arrays(stored),
    )


@step
def index_embeddings(embeddings: EmbeddingsRecord) -> IndexRecord:
    """Build the cosine index of each split, and of each class of each split."""
    from models import vector_index

    store = Store()
    arrays = store.get_arrays(embeddings.vectors)
    indices: dict[str, Any] = {}
    members: dict[str, NDArray[Any]] = {}
    for split in ("train", "test"):
        vectors, labels = arrays[f"{split}_vectors"], arrays[f"{split}_labels"]
        ids = np.arange(len(labels), dtype=np.int64)
        members |= {f"{split}_ids": ids, f"{split}_labels": labels}
        indices[split] = vector_index.build_flat(vectors, ids)
        for label in np.unique(labels):
            chosen = labels == label
            indices[f"{split}_class_{label}"] = vector_index.build_flat(vectors[chosen], ids[chosen])
    return IndexRecord(
        encoder=embeddings.encoder,
        dimension=embeddings.dimension,
        indices={
            name: store.put(vector_index.dump(index), "application/octet-stream") for name, index in indices.items()
        },
        members=store.put_arrays(members),
    )


@step
def search_neighbours(embeddings: EmbeddingsRecord, index: IndexRecord, count: int) -> ArrayRecord:
    """Find the nearest test and train images of each test image, without itself."""
    from models import vector_index

    store = Store()
    queries = store.get_arrays(embeddings.vectors)["test_vectors"]
    ids = np.arange(len(queries), dtype=np.int64)
    arrays: dict[str, NDArray[Any]] = {}
    for split, exclude in (("train", None), ("test", ids)):
        found = vector_index.search(
            vector_index.load(store.get(index.indices[split])), queries, min(count, _size(index, split)), exclude
        )
        arrays |= {f"{split}_ids": found.ids, f"{split}_similarities": found.similarities}
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


@step
def evaluate_retrieval(
    embeddings: EmbeddingsRecord, evaluation: EvaluationRecord, k_values: list[int], bootstrap_samples: int
) -> RetrievalRecord:
    """Score the rankings of the test images by every protocol."""
    from tasks.retrieval import conditioned, ranking
    from tasks.retrieval.failures import worst_queries

    store = Store()
    protocols, true_class = _protocols(store, embeddings, evaluation, k_values)
    loo, gallery, by_class = protocols
    metrics: dict[str, float] = {}
    for prefix, protocol in (("loo", loo), ("gallery", gallery)):
        metrics |= ranking.summarize(protocol.result, prefix, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
        metrics |= ranking.means(protocol.chance, f"chance/{prefix}")
    metrics |= conditioned.summarize(by_class.result, true_class, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
    per_query = {
        f"{prefix}_{name}": values
        for prefix, protocol in (("loo", loo), ("gallery", gallery), ("conditioned", by_class))
        for name, values in {
            "average_precision": protocol.result.average_precision,
            **{f"precision_at_{k}": found for k, found in protocol.result.precision_at.items()},
            **{f"hit_at_{k}": found for k, found in protocol.result.hit_at.items()},
        }.items()
    }
    return RetrievalRecord(
        metrics=metrics,
        per_query=store.put_arrays(per_query),
        worst=tuple(worst_queries(loo.result, WORST, k=FAILURE_K).tolist()),
    )


@step
def project_embeddings(embeddings: EmbeddingsRecord, seed: int) -> ArrayRecord:
    """Lay the test images out in the plane by t-SNE and by UMAP."""
    from tasks.retrieval import projection

    store = Store()
    vectors = store.get_arrays(embeddings.vectors)["test_vectors"]
    arrays = {"tsne": projection.tsne(vectors, seed), "umap": projection.umap(vectors, seed)}
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


@step
def plot_retrieval(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    retrieval: RetrievalRecord,
    neighbours: ArrayRecord,
    projected: ArrayRecord,
    parameters: RetrievalParameters,
) -> FiguresRecord:
    """Draw the figures of the stage."""
    from models.vector_index import Neighbours
    from tasks.retrieval import figures

    store, phantoms = Store(), dataset.phantoms
    protocols, _ = _protocols(store, embeddings, evaluation, parameters.k_values)
    plane = store.get_arrays(projected.arrays)
    loo = protocols[0].result
    missed = loo.hit_at[FAILURE_K] == 0
    arrays, found = store.get_arrays(dataset.splits), store.get_arrays(neighbours.arrays)
    bootstrap = {"samples": parameters.bootstrap_samples, "seed": BOOTSTRAP_SEED}
    evenly = np.linspace(0, len(missed) - 1, min(parameters.galleries, len(missed))).astype(np.int64)
    worst = np.array(retrieval.worst[: parameters.galleries], dtype=np.int64)

    def show(queries: NDArray[np.int64], split: str, title: str) -> bytes:
        ids = found[f"{split}_ids"][queries, : parameters.neighbours]
        return figures.gallery(
            arrays["test_images"][queries],
            queries,
            arrays["test_labels"][queries],
            arrays[f"{split}_images"][ids],
            arrays[f"{split}_labels"][ids],
            Neighbours(found[f"{split}_similarities"][queries, : parameters.neighbours], ids),
            title=title,
            phantoms=phantoms,
        )

    pictures = {
        "precision_at_k": figures.precision_at_k_curves(protocols, **bootstrap, phantoms=phantoms),
        "map_by_class": figures.class_map_bars(protocols, **bootstrap, phantoms=phantoms),
        "projection": figures.projection_scatter(
            plane["tsne"],
            plane["umap"],
            loo.query_labels,
            missed,
            mark_name=f"no hit in {FAILURE_K}",
            phantoms=phantoms,
        ),
        "gallery_test": show(evenly, "test", "Test images, evenly spaced by index, and their nearest test images"),
        "gallery_train": show(evenly, "train", "Test images, evenly spaced by index, and their nearest train images"),
        "gallery_worst": show(worst, "test", f"Worst queries by Hit@{FAILURE_K}, and their nearest test images"),
    }
    return FiguresRecord(figures={name: store.put(png, "image/png") for name, png in pictures.items()})


@step
def document_retrieval(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    k_values: list[int],
    bootstrap_samples: int,
) -> DocumentRecord:
    """Write the stage's report."""
    from tasks.retrieval.summary import retrieval_report

    store = Store()
    protocols, true_class = _protocols(store, embeddings, evaluation, k_values)
    text = retrieval_report(
        *protocols,
        true_class,
        k=FAILURE_K,
        worst=10,
        samples=bootstrap_samples,
        seed=BOOTSTRAP_SEED,
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(text.encode(), "text/markdown"))


def _protocols(
    store: Store, embeddings: EmbeddingsRecord, evaluation: EvaluationRecord, k_values: list[int]
) -> "tuple[tuple[Protocol, Protocol, Protocol], RankingResult]":
    """Rank the test images by every protocol, which takes some hundredths of a second."""
    from tasks.retrieval import chance, conditioned, ranking
    from tasks.retrieval.chance import Protocol

    arrays = store.get_arrays(embeddings.vectors)
    predicted = store.get_arrays(evaluation.predictions)["predicted"]
    cutoffs = sorted({*STANDARD_K, *k_values})
    vectors, labels = arrays["test_vectors"], arrays["test_labels"]
    ids = np.arange(len(labels), dtype=np.int64)
    train_labels = arrays["train_labels"]
    train_ids = len(ids) + np.arange(len(train_labels), dtype=np.int64)  # no train image is a test image
    expected = chance.leave_one_out(labels, ids, cutoffs)
    loo = Protocol("leave-one-out", ranking.evaluate(vectors, labels, vectors, labels, ids, ids, cutoffs), expected)
    gallery = Protocol(
        "test → train",
        ranking.evaluate(vectors, labels, arrays["train_vectors"], train_labels, ids, train_ids, cutoffs),
        chance.from_gallery(labels, ids, train_labels, cutoffs),
    )
    by_class = [
        conditioned.evaluate(vectors, labels, classes, vectors, labels, ids, ids, cutoffs)
        for classes in (predicted, labels)
    ]
    return (loo, gallery, Protocol("predicted class", by_class[0], expected)), by_class[1]


def _size(index: IndexRecord, split: str) -> int:
    return Store().get_arrays(index.members)[f"{split}_ids"].size - (split == "test")
