"""Retrieval: embed → index → search → evaluate → project → analyse, with each encoder, and compare them."""

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.classification import classification
from flows.support.artifacts import show_document, show_steps
from flows.support.runners import require_workers, task_runner
from models.errors import InputError
from tasks.classification.steps.evaluation import calibrate_classifier, evaluate_classifier
from tasks.classification.steps.registration import read_package
from tasks.classification.steps.training import predict_classifier
from tasks.data.steps import locate_source, prepare_dataset, require_pneumonia, smallest_test_class
from tasks.execution import events
from tasks.execution.caching import outcomes
from tasks.execution.variables import drift_threshold
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import FindingsRecord, RunReference
from tasks.records.classification import ClassificationResult, EvaluatedClassifier
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, RetrievalResult, SearchableRecord
from tasks.retrieval.published.publication import in_use, publish
from tasks.retrieval.steps import (
    analyse_failures,
    analyse_neighbours,
    check_cutoffs,
    classifier_encoder,
    compare_encoders,
    document_retrieval,
    draw_map,
    embed_images,
    evaluate_retrieval,
    fit_metric_encoder,
    index_embeddings,
    locate_encoders,
    map_similarity,
    measure_drift,
    measure_new_images,
    new_images,
    plot_retrieval,
    project_embeddings,
    query_texts,
    search_neighbours,
)
from tasks.storage.store import DamagedFileError
from tasks.tracking import registry, runs

NEIGHBOURS = 100  # kept for each test image: for the galleries, and as evidence for reports and against errors

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_RETRIEVAL, _EXECUTION = RetrievalParameters(), ExecutionParameters()


@flow(name="retrieval", flow_run_name="retrieval, classifier: {retrieval.classifier}")
def retrieval(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    retrieval: RetrievalParameters = _RETRIEVAL,
    execution: ExecutionParameters = _EXECUTION,
) -> RetrievalResult:
    """Search for similar cases with each encoder, and judge the search by several protocols."""
    require_pneumonia(dataset)
    check_cutoffs(retrieval, smallest_test_class(locate_source(dataset), dataset.limit))
    require_workers(execution)
    located = locate_encoders(retrieval)
    if retrieval.classifier == "train":
        found = judged(classification(dataset, training, evaluation))
    else:
        found = _judge(dataset, evaluation, retrieval.classifier)
    return retrieve(found, located, retrieval, execution)


def judged(classified: ClassificationResult) -> EvaluatedClassifier:
    """Take of a classification what the retrieval needs."""
    return EvaluatedClassifier(
        dataset=classified.dataset, classifier=classified.classifier, evaluation=classified.evaluation
    )


def require_trained(retrieval: RetrievalParameters) -> None:
    """Refuse another classifier where the flow trains one itself.

    Raises:
        InputError: another one is asked for.
    """
    if retrieval.classifier != "train":
        raise InputError(
            f"--retrieval.classifier {retrieval.classifier}: this flow searches with the classifier that it trains; "
            "leave `train`, or run the retrieval flow alone."
        )


def _judge(dataset: DatasetParameters, evaluation: EvaluationParameters, wanted: str) -> EvaluatedClassifier:
    """Take a registered classifier and score it as the classification does."""
    version, package = registry.choose(registry.registered_name(dataset.name), wanted)
    data = prepare_dataset(locate_source(dataset), dataset.limit)
    classifier = read_package(package, data, version.run_id)
    predictions = predict_classifier(data, classifier)
    calibration = calibrate_classifier(predictions, evaluation.threshold_rule)
    scores = evaluate_classifier(predictions, calibration, evaluation.bootstrap_samples)
    return EvaluatedClassifier(dataset=data, classifier=classifier, evaluation=scores)


def retrieve(
    source: EvaluatedClassifier,
    located: list[EncoderRecord],
    retrieval: RetrievalParameters,
    execution: ExecutionParameters,
) -> RetrievalResult:
    """Search with each encoder of the form, once there is a classifier; hand on what the first one found.

    Args:
        source: the classifier and its scores.
        located: the published encoders, as `locate_encoders` found them.
        retrieval: the form.
        execution: where the shards of the embeddings are computed.

    Returns:
        The results of the first encoder.
    """
    found: list[RetrievalResult] = []
    searched = retrieve_with.with_options(task_runner=task_runner(execution))
    for name in retrieval.encoders:
        published = next((encoder for encoder in located if encoder.name == name), None)
        earlier = [each.embeddings for each in found]
        found.append(searched(source, name, published, earlier, retrieval))
    return found[0].model_copy(update={"flow_run_ids": tuple(each.flow_run_id for each in found)})


@flow(name="retrieve", flow_run_name="retrieval with {name}")
def retrieve_with(
    source: EvaluatedClassifier,
    name: str,
    published: EncoderRecord | None,
    earlier: list[EmbeddingsRecord],
    retrieval: RetrievalParameters,
) -> RetrievalResult:
    """Embed, index, search and judge with one encoder, and compare it and those before it with the first."""
    data, evaluation, classifier = source.dataset, source.evaluation, source.classifier
    with runs.tracked_run("retrieval", {"retrieval": retrieval}) as run:
        runs.log_dataset(run, data, "evaluation")
        encoder = published or (
            fit_metric_encoder(data, classifier) if name == "metric" else classifier_encoder(classifier)
        )
        runs.log_encoder(run, encoder)
        embeddings = embed_images(data, encoder)
        index = index_embeddings(data, embeddings, retrieval.index)
        neighbours = search_neighbours(data, embeddings, index, NEIGHBOURS)
        scores = evaluate_retrieval(data, embeddings, evaluation, retrieval.k_values, retrieval.bootstrap_samples)
        projected = project_embeddings(embeddings, retrieval.projection_seed)
        findings = [
            analyse_failures(
                data, embeddings, evaluation, neighbours, retrieval.neighbours, retrieval.bootstrap_samples
            ),
            analyse_neighbours(data, evaluation, neighbours, retrieval.bootstrap_samples),
            measure_drift(data, embeddings),
        ]
        if encoder.name == "classifier":
            findings.append(
                map_similarity(data, classifier, neighbours, retrieval.galleries, retrieval.bootstrap_samples)
            )
        new = _new_images(data, encoder, embeddings) if retrieval.classifier == registry.CHAMPION else None
        if new is not None:
            findings.append(new)
        if encoder.reads_text:
            findings.append(query_texts(data, embeddings, encoder, retrieval.k_values, retrieval.bootstrap_samples))
        if earlier:
            compared = [*earlier, embeddings]
            findings.append(
                compare_encoders(data, compared, evaluation, retrieval.k_values, retrieval.bootstrap_samples)
            )
        plots = plot_retrieval(
            data,
            embeddings,
            evaluation,
            scores,
            neighbours,
            projected,
            retrieval.k_values,
            retrieval.galleries,
            retrieval.neighbours,
            retrieval.bootstrap_samples,
        )
        page = draw_map(data, evaluation, neighbours, projected, name)
        document = document_retrieval(
            data, encoder, embeddings, evaluation, index, findings, retrieval.k_values, retrieval.bootstrap_samples
        )
        runs.log_metrics(run, scores.metrics | index.metrics | _metrics(findings))
        figures = plots.figures | {name: stored for finding in findings for name, stored in finding.figures.items()}
        files = {f"figures/{name}.png": stored for name, stored in figures.items()}
        files |= {f"findings/{finding.name}.json": finding.findings for finding in findings}
        files |= {f"index/{name}.index": stored for name, stored in index.indices.items()}
        runs.log_files(run, files | {"report.md": document.document, "map.html": page.document})
        names = ("precision_at_k", "projection", "gallery_test", "hardest_queries", "prompt_precision")
        shown = {name: figures[name] for name in names if name in figures}
        runs.log_images(run, shown)
        show_document("retrieval", document, shown)
        show_steps("retrieval", outcomes([str(flow_run.id)]))
        if new is not None:
            events.drift_measured(registry.registered_name(data.name), new.metrics, drift_threshold())
        searchable = SearchableRecord(
            dataset=data, encoder=encoder, embeddings=embeddings, index=index, run_id=run.run_id
        )
        _publish(run, searchable, retrieval)
    return RetrievalResult(
        flow_run_id=str(flow_run.id),
        run=run,
        retrieval=scores,
        embeddings=embeddings,
        neighbours=neighbours,
        index=index,
        document=document,
    )


def _new_images(data: DatasetRecord, encoder: EncoderRecord, embeddings: EmbeddingsRecord) -> FindingsRecord | None:
    """Compare the test images that the index in use has not seen with those that it is over; None without any.

    Only one's own file can bring new ones: an official one never changes, and phantoms are drawn.
    """
    if encoder.name != "classifier" or data.kind != "own file":
        return None
    try:
        known = in_use(encoder.name, phantoms=data.phantoms)
    except DamagedFileError:  # the log says so when this run's index takes its place
        return None
    if known is None or known.dataset.trial is not None or known.dataset.size != data.size:
        return None
    count = len(new_images(data, known.dataset))
    if count == 0:
        return None
    get_run_logger().info(
        "%d test images are new to the index of the MLflow run %s, over %s.", count, known.run_id, known.dataset.title
    )
    return measure_new_images(data, embeddings, known.dataset, embed_images(known.dataset, encoder))


def _publish(run: RunReference, searchable: SearchableRecord, retrieval: RetrievalParameters) -> None:
    """Let searches take the index if they may, and say in the run's tags and log whether they do and why."""
    found = publish(searchable, retrieval.publish, retrieval.bootstrap_samples)
    runs.log_tags(run, {"index.published": str(found.published).lower(), "index.reason": found.reason})
    say = get_run_logger().info if found.published or searchable.dataset.trial else get_run_logger().warning
    say("Index of the encoder %s: %s", searchable.encoder.name, found.reason)


def _metrics(findings: list[FindingsRecord]) -> dict[str, float]:
    return {name: value for finding in findings for name, value in finding.metrics.items()}


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(retrieval))
