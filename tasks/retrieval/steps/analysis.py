"""Steps that look closer: at failures, neighbours, texts, drift, and where images agree."""

from tasks.execution.caching import step
from tasks.records.base import ArrayRecord, FindingsRecord
from tasks.records.classification import ClassifierRecord, EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord
from tasks.retrieval.evidence import OWN, model_of, read_evidence
from tasks.retrieval.settings import FAILURE_K, STANDARD_K
from tasks.retrieval.vectors import read_splits, read_vectors
from tasks.storage.store import Store


@step
def analyse_failures(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    neighbours: ArrayRecord,
    columns: int,
    bootstrap_samples: int,
) -> FindingsRecord:
    """Look at the queries that fail: what they have in common, and whether another way to search would help them."""
    from tasks.retrieval.findings.failures import find_failures
    from tasks.retrieval.metrics.protocols import read_protocols

    store = Store()
    evidence = read_evidence(store, dataset, evaluation, neighbours, embeddings.name)
    result = read_protocols(store, dataset, embeddings, evaluation, [FAILURE_K]).ranked["loo"].result
    vectors = read_vectors(store, embeddings, "test")
    return find_failures(
        evidence, result, vectors, similarity=embeddings.similarity, columns=columns, samples=bootstrap_samples
    ).stored(store)


@step
def analyse_neighbours(
    dataset: DatasetRecord, evaluation: EvaluationRecord, neighbours: ArrayRecord, encoder: str, bootstrap_samples: int
) -> FindingsRecord:
    """Look at the neighbours: hubs among them, near-duplicates, and what they say about the classifier's errors."""
    from tasks.retrieval.findings.neighbours import find_about_neighbours

    store = Store()
    evidence = read_evidence(store, dataset, evaluation, neighbours, encoder)
    return find_about_neighbours(evidence, samples=bootstrap_samples).stored(store)


@step
def query_texts(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    encoder: EncoderRecord,
    k_values: list[int],
    bootstrap_samples: int,
) -> FindingsRecord:
    """Search the test images by the prompts of each class, and classify them by the prompts alone."""
    from tasks.retrieval import encoders
    from tasks.retrieval.analyses.text_queries import read_prompts
    from tasks.retrieval.findings import texts
    from tasks.shared.figures import Source

    store, prompts = Store(), read_prompts()
    if prompts.class_names != dataset.labels:
        return texts.no_prompts_apply(prompts, dataset.labels).stored(store)
    (test,) = read_splits(store, dataset, embeddings, "test")
    return texts.find_by_text(
        prompts,
        encoders.load(encoder).encode_texts(prompts.texts),
        store.get_arrays(dataset.splits)["test_images"],
        test,
        k_values=sorted({*STANDARD_K, *k_values}),
        samples=bootstrap_samples,
        source=Source.of(dataset, f"encoder {encoder.name}"),
    ).stored(store)


@step
def map_similarity(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    neighbours: ArrayRecord,
    galleries: int,
    bootstrap_samples: int,
) -> FindingsRecord:
    """Show where queries and their nearest neighbours agree, and check by masking that it is so."""
    from models.classifier import weights
    from models.classifier.preprocessing import Normalization
    from tasks.retrieval.findings.similarity import find_similar_places, no_similar_places
    from tasks.shared.figures import Source

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    model, card = weights.load(store.get(classifier.weights))
    if model.frozen is not None:
        return no_similar_places(model.frozen.source.encoder).stored(store)
    return find_similar_places(
        model,
        Normalization(**card["normalization"]),
        arrays["test_images"],
        arrays["test_labels"],
        store.get_arrays(neighbours.arrays)["test_ids"][:, 0],
        dataset.labels,
        rows=max(galleries // 2, 1),
        samples=bootstrap_samples,
        source=Source.of(dataset, model_of(OWN, classifier.title)),
    ).stored(store)


@step
def measure_drift(dataset: DatasetRecord, embeddings: EmbeddingsRecord) -> FindingsRecord:
    """Compare the embeddings of the test images with those of train, which the index holds."""
    from tasks.retrieval.findings.drift import find_drift

    store = Store()
    train, test, validation = read_splits(store, dataset, embeddings, "train", "test", "val")
    return find_drift(train, test, validation, dataset.labels).stored(store)


@step
def measure_new_images(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    known: DatasetRecord,
    indexed: EmbeddingsRecord,
) -> FindingsRecord:
    """Compare new test images with those that the index in use is over, and find what that gives by chance.

    Args:
        dataset: the images, some of them new.
        embeddings: their vectors.
        known: the images that the index in use is over.
        indexed: the vectors of these, by the same encoder.
    """
    from tasks.retrieval.findings.drift import find_drift_of_new_images, unseen

    store = Store()
    (test,) = read_splits(store, dataset, embeddings, "test")
    train, validation = read_splits(store, known, indexed, "train", "val")
    places = unseen(store.get_arrays(dataset.splits)["test_images"], store.get_arrays(known.splits))
    return find_drift_of_new_images(train, test, validation, places, dataset.labels).stored(store)


def new_images(dataset: DatasetRecord, known: DatasetRecord) -> list[int]:
    """Find the test images that an index over other images has not seen; return their positions, ascending."""
    from tasks.retrieval.findings.drift import unseen

    store = Store()
    if dataset.splits.sha256 == known.splits.sha256:
        return []
    return unseen(store.get_arrays(dataset.splits)["test_images"], store.get_arrays(known.splits))
