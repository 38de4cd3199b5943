"""Steps that judge the search by every protocol, compare encoders, and lay the embedding out in the plane."""

from dataclasses import asdict

from tasks.execution.caching import step
from tasks.records.base import ArrayRecord, FindingsRecord
from tasks.records.classification import EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, RetrievalRecord
from tasks.retrieval.settings import BOOTSTRAP_SEED, FAILURE_K
from tasks.retrieval.vectors import read_vectors
from tasks.storage.store import Store

WORST = 50


@step
def evaluate_retrieval(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    k_values: list[int],
    bootstrap_samples: int,
) -> RetrievalRecord:
    """Score the rankings of the test images by every protocol."""
    from tasks.retrieval.analyses.failures import worst_queries
    from tasks.retrieval.metrics.protocols import read_protocols

    store = Store()
    protocols = read_protocols(store, dataset, embeddings, evaluation, k_values)
    return RetrievalRecord(
        encoder=embeddings.name,
        metrics=protocols.metrics(dataset.labels, samples=bootstrap_samples, seed=BOOTSTRAP_SEED),
        per_query=store.put_arrays(protocols.per_query()),
        worst=tuple(worst_queries(protocols.ranked["loo"].result, WORST, k=FAILURE_K).tolist()),
    )


@step
def compare_encoders(
    dataset: DatasetRecord,
    embeddings: list[EmbeddingsRecord],
    evaluation: EvaluationRecord,
    k_values: list[int],
    bootstrap_samples: int,
) -> FindingsRecord:
    """Compare every encoder with the first, query by query."""
    from tasks.retrieval.analyses.comparison import compare, comparison_table
    from tasks.retrieval.metrics.protocols import read_protocols

    store, baseline = Store(), embeddings[0].name
    protocols = {each.name: read_protocols(store, dataset, each, evaluation, k_values).ranked for each in embeddings}
    sections, rows = [], {}
    for prefix in ("loo", "gallery"):
        title = protocols[baseline][prefix].name
        results = {name: ranked[prefix].result for name, ranked in protocols.items()}
        differences = compare(results, baseline, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
        rows[title] = [asdict(difference) for difference in differences]
        sections.append((f"Encoders compared, {title}", comparison_table(differences, baseline)))
    return FindingsRecord(
        name="encoders", metrics={}, findings=store.put_json(rows), figures={}, sections=tuple(sections)
    )


@step
def project_embeddings(embeddings: EmbeddingsRecord, seed: int) -> ArrayRecord:
    """Lay the test images out in the plane by t-SNE and by UMAP."""
    from tasks.retrieval import projection

    store = Store()
    arrays = projection.project(read_vectors(store, embeddings, "test"), seed)
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})
