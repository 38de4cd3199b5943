"""Retrieval: embed → index → search → evaluate → project → analyse."""

from prefect import flow
from prefect.runtime import flow_run

from flows.artifacts import show_document, show_steps
from flows.classification import classification
from tasks import tracking
from tasks.caching import outcomes
from tasks.data.steps import require_pneumonia
from tasks.parameters import DatasetParameters, EvaluationParameters, RetrievalParameters, TrainingParameters
from tasks.records import Classified, Retrieved
from tasks.retrieval.steps import (
    document_retrieval,
    embed_images,
    evaluate_retrieval,
    index_embeddings,
    plot_retrieval,
    project_embeddings,
    search_neighbours,
)

NEIGHBOURS = 20  # kept for each test image, for the galleries and as evidence for reports

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_RETRIEVAL = RetrievalParameters()


@flow(name="retrieval")
def retrieval(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    retrieval: RetrievalParameters = _RETRIEVAL,
) -> Retrieved:
    """Search for similar cases with the classifier's embedding, and judge the search by several protocols."""
    require_pneumonia(dataset)
    return retrieve(classification(dataset, training, evaluation), retrieval)


@flow(name="retrieve", flow_run_name="retrieval with {classified.classifier.architecture}")
def retrieve(classified: Classified, retrieval: RetrievalParameters) -> Retrieved:
    """Embed, index, search and judge, once there is a classifier."""
    data, evaluation = classified.dataset, classified.evaluation
    with tracking.tracked_run("retrieval", {"retrieval": retrieval}) as run:
        tracking.log_dataset(run, data, "evaluation")
        embeddings = embed_images(data, classified.classifier)
        index = index_embeddings(embeddings)
        neighbours = search_neighbours(embeddings, index, NEIGHBOURS)
        scores = evaluate_retrieval(embeddings, evaluation, retrieval.k_values, retrieval.bootstrap_samples)
        projected = project_embeddings(embeddings, retrieval.projection_seed)
        plots = plot_retrieval(data, embeddings, evaluation, scores, neighbours, projected, retrieval)
        document = document_retrieval(data, embeddings, evaluation, retrieval.k_values, retrieval.bootstrap_samples)

        tracking.log_metrics(run, scores.metrics)
        tracking.log_files(run, {f"figures/{name}.png": stored for name, stored in plots.figures.items()})
        tracking.log_files(run, {f"index/{name}.faiss": stored for name, stored in index.indices.items()})
        tracking.log_files(run, {"index/members.npz": index.members, "report.md": document.document})
        shown = ("precision_at_k", "projection", "gallery_test", "gallery_worst")
        show_document("retrieval", document, {name: plots.figures[name] for name in shown})
        show_steps("retrieval", outcomes([str(flow_run.id)]))
    return Retrieved(
        flow_run_id=str(flow_run.id), run=run, retrieval=scores, neighbours=neighbours, index=index, document=document
    )


if __name__ == "__main__":
    from flows.shell import main

    raise SystemExit(main(retrieval))
