"""Classification: data → train → predict → calibrate → evaluate → assess → explain → audit labels → promote."""

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.support.artifacts import show_document, show_steps
from tasks.classification.steps.evaluation import calibrate_classifier, evaluate_classifier
from tasks.classification.steps.explanation import check_explanation, explain_classifier
from tasks.classification.steps.label_audit import audit_labels, divide_folds, predict_fold
from tasks.classification.steps.publication import document_classification, plot_classification
from tasks.classification.steps.registration import compare_with_champion, package_classifier
from tasks.classification.steps.training import check_training, predict_classifier, train_classifier
from tasks.classification.steps.trust import assess_trust
from tasks.data.catalogue import look_up
from tasks.data.steps import locate_source, prepare_dataset
from tasks.execution import events
from tasks.execution.caching import outcomes
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import StoredFile
from tasks.records.classification import ClassificationResult, FoldsRecord
from tasks.records.data import DatasetRecord
from tasks.tracking import registry, runs

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
LARGEST_LABEL_AUDIT = 30_000  # images; beyond it the search for near-duplicates would take hours


@flow(name="classification", flow_run_name="classification {training.architecture} seed {training.seed}")
def classification(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
) -> ClassificationResult:
    """Train a classifier, calibrate it on validation, score it on test, once, and say how far it can be trusted."""
    forms = {"dataset": dataset, "training": training, "evaluation": evaluation}
    published = look_up(dataset.name, dataset.size)
    pretrained = check_training(training, dataset, len(published.labels), published.images["train"])
    source = locate_source(dataset)
    with runs.tracked_run("classification", forms) as run:
        data = prepare_dataset(source, dataset.limit)
        runs.log_dataset(run, data, "training")
        folds = _folds(data, evaluation.label_folds)  # before the training, since they may turn out impossible
        # The weights to start from count by their content, not by where they lie.
        started = training.model_copy(update={"pretrained": None})
        classifier = train_classifier(data, started, pretrained, run)
        predictions = predict_classifier(data, classifier)
        calibration = calibrate_classifier(predictions, evaluation.threshold_rule)
        scores = evaluate_classifier(predictions, calibration, evaluation.bootstrap_samples)
        explanation = explain_classifier(data, classifier, predictions, calibration)
        findings = [
            assess_trust(data, predictions, calibration),
            check_explanation(data, classifier, evaluation.explained_images, evaluation.explanation_draws),
        ]
        if folds is not None:
            parts = [predict_fold(data, folds, part) for part in range(folds.count)]
            findings.append(audit_labels(data, folds, parts))
        plots = plot_classification(data, classifier, predictions, calibration, explanation, evaluation.failures)
        document = document_classification(data, classifier, calibration, scores, training, findings)

        runs.log_epochs(run, classifier.history)
        points = {"calibration/temperature": calibration.temperature}
        if scores.threshold is not None:
            points["threshold"] = scores.threshold
        found = {name: value for finding in findings for name, value in finding.metrics.items()}
        runs.log_metrics(run, scores.metrics | {"train/seconds": classifier.seconds} | points | found)
        figures = plots.figures | {name: stored for finding in findings for name, stored in finding.figures.items()}
        files = {f"figures/{name}.png": stored for name, stored in figures.items()}
        files |= {f"findings/{finding.name}.json": finding.findings for finding in findings}
        files |= {"report.md": document.document, "data_audit.json": data.audit}
        package = package_classifier(data, classifier, calibration, scores)
        runs.log_files(run, files | {"model/classifier.safetensors": package.package})
        names = ("confusion_matrix", "roc_curve", "grad_cam", "failure_cases", "conformal_coverage", "score_shift")
        shown = {name: figures[name] for name in names}
        runs.log_images(run, shown)
        show_document("classification", document, shown)
        registered = registry.registered_name(data.name)
        if evaluation.promote and data.trial is not None:
            reason = f"Not registered, since it is a trial: {data.trial}."
            runs.log_tags(run, {registry.REASON: reason})
            get_run_logger().info(reason)
        elif evaluation.promote:

            def judge(champion: StoredFile) -> tuple[bool, str]:
                found = compare_with_champion(data, predictions, calibration, champion, evaluation.bootstrap_samples)
                events.classifier_compared(registered, found.auc, found.champion_auc)
                return found.promoted, found.reason

            version = registry.register(run, registered, package.package)
            decision = registry.promote(run, version, judge)
            if decision.promoted:
                events.champion_changed(registered, version.version, decision.reason)
            get_run_logger().info("%s version %d: %s", version.name, version.version, decision.reason)
        show_steps("classification", outcomes([str(flow_run.id)]))
    return ClassificationResult(
        flow_run_id=str(flow_run.id),
        run=run,
        dataset=data,
        classifier=classifier,
        predictions=predictions,
        calibration=calibration,
        evaluation=scores,
        explanation=explanation,
        document=document,
    )


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
