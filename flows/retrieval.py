"""Retrieval: embed → index → search → evaluate → project → analyse, with each encoder, and compare them."""

from functools import partial

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.classification import classification
from flows.support import promotion
from flows.support.history import HISTORY, write_history
from flows.support.naming import run_name
from flows.support.predictions import predicted
from flows.support.preflight import preflight
from flows.support.products import Products, publish, stage_run
from flows.support.provenance import log_dataset, log_encoder
from flows.support.runners import task_runner
from models.own_encoders.table import encoder_class
from tasks.classification.steps.evaluation import calibrate_classifier, evaluate_classifier
from tasks.classification.steps.registration import read_package
from tasks.data.steps import locate_source, prepare_dataset
from tasks.execution import events
from tasks.execution.mapping import Starter, steps_at_once
from tasks.execution.plain_words import in_plain_words
from tasks.execution.variables import drift_threshold
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import FindingsRecord, RunReference
from tasks.records.classification import ClassificationResult, EvaluatedClassifier
from tasks.records.data import OWN, DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, RetrievalResult, SearchableRecord
from tasks.retrieval.published.publication import in_use
from tasks.retrieval.published.publication import publish as publish_index
from tasks.retrieval.steps.analysis import (
    analyse_failures,
    analyse_neighbours,
    map_similarity,
    measure_drift,
    measure_new_images,
    new_images,
    query_texts,
)
from tasks.retrieval.steps.encoding import embed_all, embed_images, export_embeddings, own_encoder
from tasks.retrieval.steps.evaluation import compare_encoders, evaluate_retrieval, project_embeddings
from tasks.retrieval.steps.indexing import index_embeddings, search_neighbours
from tasks.retrieval.steps.plotting import document_retrieval, draw_map, plot_retrieval
from tasks.storage.store import DamagedFileError
from tasks.tracking import registry, runs

_SHOWN = ("precision_at_k", "projection", "gallery_test", "hardest_queries", "prompt_precision")
NEIGHBOURS = 100  # kept for each test image: for the galleries, and as evidence for reports and against errors

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_RETRIEVAL, _EXECUTION = RetrievalParameters(), ExecutionParameters()


@flow(name="retrieval", flow_run_name=run_name)
@in_plain_words
def retrieval(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    retrieval: RetrievalParameters = _RETRIEVAL,
    execution: ExecutionParameters = _EXECUTION,
) -> RetrievalResult:
    """Search for similar cases with each encoder, and judge the search by several protocols."""
    located = preflight(dataset, retrieval, execution)
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


def _judge(dataset: DatasetParameters, evaluation: EvaluationParameters, wanted: str) -> EvaluatedClassifier:
    """Take a registered classifier and score it as the classification does."""
    version, package = promotion.choose(registry.registered_name(dataset.name), wanted)
    data = prepare_dataset(locate_source(dataset), dataset.limit)
    classifier = read_package(package, data, version.run_id)
    predictions = predicted(data, classifier)
    calibration = calibrate_classifier(predictions, evaluation.threshold_rule)
    scores = evaluate_classifier(predictions, calibration, evaluation.bootstrap_samples, data.graded)
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


@flow(name="retrieval-with-encoder", flow_run_name=partial(run_name, "name"))
@in_plain_words
def retrieve_with(
    source: EvaluatedClassifier,
    name: str,
    published: EncoderRecord | None,
    earlier: list[EmbeddingsRecord],
    retrieval: RetrievalParameters,
) -> RetrievalResult:
    """Embed, index, search and judge with one encoder, and compare it and those before it with the first."""
    data, evaluation, classifier = source.dataset, source.evaluation, source.classifier
    ks, samples = retrieval.k_values, retrieval.bootstrap_samples
    with stage_run("retrieval", {"retrieval": retrieval}) as stage:
        run = stage.run
        log_dataset(run, data, "evaluation")
        encoder = published or own_encoder(data, classifier, name)
        log_encoder(run, encoder)
        embedded = embed_all(data, encoder, classifier)
        embeddings = embedded.model_copy(update={"similarity": retrieval.similarity})
        with steps_at_once() as start:
            projected = start(project_embeddings, embedded, retrieval.projection_seed)  # takes longest: it goes first
            index = index_embeddings(data, embeddings, retrieval.index)
            neighbours = search_neighbours(data, embeddings, index, NEIGHBOURS)
            scores = evaluate_retrieval(data, embeddings, evaluation, ks, samples)
            analyses = [
                start(analyse_failures, data, embeddings, evaluation, neighbours, retrieval.neighbours, samples),
                start(analyse_neighbours, data, evaluation, neighbours, name, samples),
                start(measure_drift, data, embedded),
            ]
            if encoder_class(encoder.name).is_classifier:
                analyses.append(start(map_similarity, data, classifier, neighbours, retrieval.galleries, samples))
            new = _new_images(start, data, encoder, embedded) if retrieval.classifier == registry.CHAMPION else None
            if new is not None:
                analyses.append(new)
            if encoder.reads_text:
                analyses.append(start(query_texts, data, embedded, encoder, ks, samples))
            if earlier:
                analyses.append(start(compare_encoders, data, [*earlier, embeddings], evaluation, ks, samples))
            exported = {split: start(export_embeddings, data, embedded, split) for split in ("test", "train")}
            documented = start(document_retrieval, data, encoder, embeddings, evaluation, index, analyses, ks, samples)
            mapped = start(draw_map, data, evaluation, neighbours, projected, name)
            plotted = start(
                plot_retrieval, data, embeddings, evaluation, scores, neighbours, projected, ks, retrieval.galleries,
                retrieval.neighbours, samples,
            )  # fmt: skip
            projected.result()
            findings, document = [analysis.result() for analysis in analyses], documented.result()
            page, figures = mapped.result(), plotted.result().figures

        files = {"map.html": page.document}
        files |= {f"embeddings/{split}.npz": found.result().arrays for split, found in exported.items()}
        files |= {f"index/{kind}.index": stored for kind, stored in index.indices.items()}
        metrics = scores.metrics | index.metrics
        pages = {"map of the images": "map.html"}
        if retrieval.classifier == registry.CHAMPION:
            measured = metrics | {name: value for found in findings for name, value in found.metrics.items()}
            files[HISTORY] = write_history(data, name, measured)
            pages["history by week"] = HISTORY
        ran = f"Search by the encoder {name} ({embeddings.dimension} dimensions, {retrieval.similarity})"
        products = Products(data, document, ran, metrics, figures, findings, files, shown=_SHOWN, pages=pages)
        searchable = SearchableRecord(
            dataset=data, encoder=encoder, embeddings=embeddings, index=index, run_id=run.run_id
        )

        def decide() -> str:
            if new is not None:
                events.drift_measured(registry.registered_name(data.name), new.result().metrics, drift_threshold())
            return _publish_index(run, searchable, retrieval)

        publish(stage, products, decide)
    return RetrievalResult(
        flow_run_id=str(flow_run.id),
        run=run,
        retrieval=scores,
        embeddings=embeddings,
        neighbours=neighbours,
        index=index,
        figures=products.all_figures(),
    )


def _new_images(
    start: Starter, data: DatasetRecord, encoder: EncoderRecord, embeddings: EmbeddingsRecord
) -> PrefectFuture[FindingsRecord] | None:
    """Compare the test images that the index in use has not seen with those that it is over; None without any.

    Only one's own file or folder can bring new ones: an official one never changes, and phantoms are drawn.
    """
    if not encoder_class(encoder.name).is_classifier or data.kind not in OWN:
        return None
    try:
        known = in_use(encoder.name, phantoms=data.phantoms, dataset=data.name)
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
    return start(measure_new_images, data, embeddings, known.dataset, embed_images(known.dataset, encoder))


def _publish_index(run: RunReference, searchable: SearchableRecord, retrieval: RetrievalParameters) -> str:
    """Let searches take the index if they may, and say in the run's tags and log whether they do and why."""
    found = publish_index(searchable, retrieval.publish, retrieval.bootstrap_samples)
    runs.log_tags(run, {"index.published": str(found.published).lower(), "index.reason": found.reason})
    say = get_run_logger().info if found.published or searchable.dataset.trial else get_run_logger().warning
    say("Index of the encoder %s: %s", searchable.encoder.name, found.reason)
    return f"Index of the encoder {searchable.encoder.name}: {found.reason}"


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(retrieval))
