"""Steps that draw the figures and the map, and write the stage's report."""

from models.notices import RANDOM_ENCODER_NOTICE
from tasks.execution.caching import step
from tasks.records.base import ArrayRecord, DocumentRecord, FiguresRecord, FindingsRecord
from tasks.records.classification import EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, IndexRecord, RetrievalRecord
from tasks.retrieval.evidence import read_evidence
from tasks.retrieval.settings import BOOTSTRAP_SEED, FAILURE_K
from tasks.storage.store import Store


@step
def plot_retrieval(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    retrieval: RetrievalRecord,
    neighbours: ArrayRecord,
    projected: ArrayRecord,
    k_values: list[int],
    galleries: int,
    columns: int,
    bootstrap_samples: int,
) -> FiguresRecord:
    """Draw the figures of the stage."""
    from tasks.retrieval.figures.stage import draw_stage
    from tasks.retrieval.metrics.protocols import read_protocols

    store = Store()
    pictures = draw_stage(
        read_evidence(store, dataset, evaluation, neighbours, embeddings.name),
        read_protocols(store, dataset, embeddings, evaluation, k_values),
        store.get_arrays(projected.arrays),
        retrieval.worst[:galleries],
        galleries=galleries,
        columns=columns,
        samples=bootstrap_samples,
    )
    return FiguresRecord(figures=store.put_pictures(pictures))


@step
def draw_map(
    dataset: DatasetRecord, evaluation: EvaluationRecord, neighbours: ArrayRecord, projected: ArrayRecord, name: str
) -> DocumentRecord:
    """Draw the interactive map of the test images, one page of HTML."""
    from tasks.retrieval.figures.interactive_map import MapCases, interactive_map

    store = Store()
    plane = store.get_arrays(projected.arrays)
    page = interactive_map(
        MapCases.of_test(read_evidence(store, dataset, evaluation, neighbours, name), count=FAILURE_K),
        {"t-SNE": plane["tsne"], "UMAP": plane["umap"]},
        dataset.labels,
        title=f"Test images as the encoder {name} sees them",
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(page.encode(), "text/html"))


@step
def document_retrieval(
    dataset: DatasetRecord,
    encoder: EncoderRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    index: IndexRecord,
    findings: list[FindingsRecord],
    k_values: list[int],
    bootstrap_samples: int,
) -> DocumentRecord:
    """Write the stage's report."""
    from tasks.retrieval.metrics.protocols import read_protocols
    from tasks.retrieval.summary import retrieval_report

    store = Store()
    text = retrieval_report(
        read_protocols(store, dataset, embeddings, evaluation, k_values),
        dataset.labels,
        encoder="; ".join(
            [
                *(encoder.identity, f"{embeddings.dimension} dimensions", f"licence: {encoder.licence or 'unknown'}"),
                *([RANDOM_ENCODER_NOTICE] if encoder.random_weights else []),
            ]
        ),
        index=f"{index.kinds['all']}, which finds {index.metrics['index/recall_at_10']:.1%} of the ten nearest",
        similarity=embeddings.similarity,
        findings=[section for finding in findings for section in finding.sections],
        k=FAILURE_K,
        worst=10,
        samples=bootstrap_samples,
        seed=BOOTSTRAP_SEED,
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(text.encode(), "text/markdown"))
