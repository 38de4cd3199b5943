"""Classification: data → train → predict → calibrate → evaluate → assess → explain → audit labels → promote."""

from pathlib import Path

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.support import promotion
from flows.support.naming import run_name
from flows.support.predictions import corruptible
from flows.support.products import Products, Stage, publish, stage_run
from flows.support.provenance import log_dataset, log_encoder
from flows.support.pruning import current_bars, end_if_pruned, ending_as_pruned
from models.choices import PROBE
from tasks.classification.epoch_curves import epoch_points
from tasks.classification.steps.evaluation import calibrate_classifier, evaluate_classifier
from tasks.classification.steps.explanation import check_explanation, explain_classifier
from tasks.classification.steps.label_audit import audit_labels, divide_folds, predict_fold
from tasks.classification.steps.probing import fit_probe, predict_probe
from tasks.classification.steps.publication import document_classification, plot_classification
from tasks.classification.steps.registration import (
    compare_with_champion,
    export_graph,
    package_classifier,
    validation_log_loss,
    write_model_card,
)
from tasks.classification.steps.robustness import assess_robustness, predict_corrupted
from tasks.classification.steps.several_labels import (
    calibrate_labels,
    document_labels,
    evaluate_labels,
    plot_labels,
)
from tasks.classification.steps.training import check_training, predict_classifier, train_classifier
from tasks.classification.steps.trust import assess_trust
from tasks.classification.version_files import DATA_CARD, GRAPH, MODEL_CARD
from tasks.data.catalogue import look_up
from tasks.data.steps import locate_source, prepare_dataset, require_one_label, why_one_label_only
from tasks.execution.mapping import steps_at_once
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import StoredFile
from tasks.records.classification import (
    ClassificationResult,
    ClassifierRecord,
    ComparisonRecord,
    FoldsRecord,
    PredictionsRecord,
)
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EncoderRecord
from tasks.retrieval.steps.encoding import embed_images
from tasks.tracking import registry, runs

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_CARD_OF_RUN = f"model/{MODEL_CARD}"
_SHOWN = (
    "confusion_matrix",
    "roc_curve",
    "grad_cam",
    "failure_cases",
    "conformal_coverage",
    "score_shift",
    "robustness",
)
_LEFT_OUT = (
    "Left out are the operating point, conformal sets, shift, heat maps, the label audit, the robustness report, the "
    "registry and what is served from it."
)
LARGEST_LABEL_AUDIT = 30_000  # images; beyond it the search for near-duplicates would take hours


@flow(name="classification", flow_run_name=run_name)
@ending_as_pruned
@in_plain_words
def classification(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
) -> ClassificationResult:
    """Train a classifier, calibrate it on validation, score it on test, once, and say how far it can be trusted.

    Where images have several labels each (ChestMNIST), every label is scored, and the run says what is left out.
    """
    forms = {"dataset": dataset, "training": training, "evaluation": evaluation}
    published = look_up(dataset.name, dataset.size)
    if training.architecture == PROBE:
        require_one_label(dataset.name, "probe")
    start_from = check_training(training, dataset, len(published.labels), published.images["train"])
    source = locate_source(dataset)
    with stage_run("classification", forms) as stage:
        run = stage.run
        data = prepare_dataset(source, dataset.limit)
        log_dataset(run, data, "training")
        folds = (
            None if data.several_labels else _folds(data, evaluation.label_folds)
        )  # before the training, since they may turn out impossible
        if isinstance(start_from, EncoderRecord):
            log_encoder(run, start_from)
            embeddings = embed_images(data, start_from)
            classifier = fit_probe(data, embeddings, start_from, run)
            predictions = predict_probe(data, classifier, embeddings)
        else:
            # The weights to start from count by their content, not by where they lie; the encoder is a probe's.
            started = training.model_copy(update={"pretrained": None, "encoder": _TRAINING.encoder})
            classifier = train_classifier(data, started, start_from, run, current_bars())
            end_if_pruned(stage, classifier, training.epochs)
            predictions = predict_classifier(data, classifier)
        if data.several_labels:
            return _label_by_label(stage, data, training, evaluation, classifier, predictions)
        calibration = calibrate_classifier(predictions, evaluation.threshold_rule)
        scores = evaluate_classifier(predictions, calibration, evaluation.bootstrap_samples, data.graded)
        corrupted = corrupted_test = None
        if corruptible(data, classifier, evaluation.corrupted_images, "the robustness report"):
            corrupted = predict_corrupted(data, classifier, "val", evaluation.corrupted_images)
            corrupted_test = predict_corrupted(data, classifier, "test", evaluation.corrupted_images)
        with steps_at_once() as start:
            checked = start(
                check_explanation, data, classifier, evaluation.explained_images, evaluation.explanation_draws
            )
            explained = start(explain_classifier, data, classifier, predictions, calibration)
            analyses = [start(assess_trust, data, predictions, calibration, corrupted), checked]
            if corrupted is not None:
                analyses.append(start(assess_robustness, data, predictions, calibration, corrupted, corrupted_test))
            plots = start(
                plot_classification, data, classifier, predictions, calibration, explained, evaluation.failures
            )
            packaged = start(package_classifier, data, classifier, calibration, scores)
            if folds is not None:
                # By this thread, one after the other: a training takes all cores, and can only be interrupted here.
                parts = [predict_fold(data, folds, part) for part in range(folds.count)]
                analyses.append(start(audit_labels, data, folds, parts))
            explanation, findings = explained.result(), [analysis.result() for analysis in analyses]
            document = document_classification(data, classifier, calibration, scores, training, findings)
            figures, package = plots.result().figures, packaged.result().package

        runs.log_points(run, epoch_points(classifier.history))
        points = {"train/seconds": classifier.seconds, "calibration/temperature": calibration.temperature}
        if scores.threshold is not None:
            points["threshold"] = scores.threshold
        if classifier.probe is not None:
            points["probe/c"] = classifier.probe.strength
        metrics = scores.metrics | points
        name, graph = registry.registered_name(data.name), None
        if evaluation.promote and data.trial is None:
            graph = export_graph(data, packaged.result(), scores)
            metrics |= graph.metrics
        described = write_model_card(name, data, packaged.result(), calibration, scores, findings, graph)
        beside = {MODEL_CARD: described.document}
        if data.card is not None:
            beside[DATA_CARD] = data.card
        if graph is not None and graph.graph is not None:
            beside[GRAPH] = graph.graph
        files = {"data_audit.json": data.audit, "model/classifier.safetensors": package}
        files |= {f"model/{Path(path).name}": stored for path, stored in beside.items()}
        if data.listing is not None:
            files["data_splits.csv"] = data.listing
        if data.corrections is not None:
            files["corrections.csv"] = data.corrections
        ran = _ran(classifier, training)
        products = Products(
            data, document, ran, metrics, figures, findings, files, shown=_SHOWN, pages={"model card": _CARD_OF_RUN},
        )  # fmt: skip

        def decide() -> str:
            def judge(other: StoredFile) -> ComparisonRecord:
                return compare_with_champion(data, predictions, calibration, other, evaluation.bootstrap_samples)

            log_loss = validation_log_loss(predictions, calibration)
            return promotion.challenge(run, data, package, log_loss, judge, beside, runs.place_of(run, _CARD_OF_RUN))

        publish(stage, products, decide if evaluation.promote else None)
    return ClassificationResult(
        flow_run_id=str(flow_run.id),
        run=run,
        dataset=data,
        classifier=classifier,
        predictions=predictions,
        calibration=calibration,
        evaluation=scores,
        explanation=explanation,
        figures=products.all_figures(),
        decision=stage.page.decision,
    )


def _label_by_label(
    stage: Stage,
    data: DatasetRecord,
    training: TrainingParameters,
    evaluation: EvaluationParameters,
    classifier: ClassifierRecord,
    predictions: PredictionsRecord,
) -> ClassificationResult:
    """Score every label, and leave out what is defined for one class an image only."""
    left_out = f"{why_one_label_only(data.name)} {_LEFT_OUT}"
    get_run_logger().info(left_out)
    calibration = calibrate_labels(predictions)
    scores = evaluate_labels(data, predictions, calibration, evaluation.bootstrap_samples)
    figures = plot_labels(data, classifier, scores).figures
    document = document_labels(data, classifier, calibration, scores, training, left_out)
    runs.log_points(stage.run, epoch_points(classifier.history))
    points = {"train/seconds": classifier.seconds, "calibration/temperature": calibration.temperature}
    files = {"data_audit.json": data.audit, "model/classifier.safetensors": classifier.weights}
    if data.card is not None:
        files[f"model/{DATA_CARD}"] = data.card
    ran = _ran(classifier, training)
    products = Products(
        data, document, ran, scores.metrics | points, figures, files=files, shown=tuple(reversed(figures))
    )

    def leave_out() -> str:
        reason = f"Not registered: {why_one_label_only(data.name)}"
        runs.log_tags(stage.run, {registry.REASON: reason})
        return reason

    publish(stage, products, leave_out)
    return ClassificationResult(
        flow_run_id=str(flow_run.id),
        run=stage.run,
        dataset=data,
        classifier=classifier,
        predictions=predictions,
        calibration=calibration,
        evaluation=scores,
        explanation=None,
        figures=products.all_figures(),
        decision=stage.page.decision,
    )


def _ran(classifier: ClassifierRecord, training: TrainingParameters) -> str:
    epochs = "one epoch" if training.epochs == 1 else f"{training.epochs} epochs"
    return f"Training of {classifier.title}, for {epochs},"


def _folds(data: DatasetRecord, count: int) -> FoldsRecord | None:
    """Divide the training split for the label audit, where that is wanted and can be done."""
    if count == 0:
        return None
    if data.counts["train"] > LARGEST_LABEL_AUDIT:
        get_run_logger().info(
            "the label audit is left out: %d training images are more than %d",
            data.counts["train"], LARGEST_LABEL_AUDIT,
        )  # fmt: skip
        return None
    return divide_folds(data, count)


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(classification))
