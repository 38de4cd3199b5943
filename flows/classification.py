"""Classification: data → train → predict → calibrate → evaluate → explain."""

from prefect import flow
from prefect.runtime import flow_run

from flows.artifacts import show_document, show_steps
from tasks import tracking
from tasks.caching import outcomes
from tasks.classification.steps import (
    calibrate_classifier,
    document_classification,
    evaluate_classifier,
    explain_classifier,
    plot_classification,
    predict_classifier,
    train_classifier,
)
from tasks.data.steps import locate_source, prepare_dataset
from tasks.parameters import DatasetParameters, EvaluationParameters, TrainingParameters
from tasks.records import Classified

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()


@flow(name="classification", flow_run_name="classification {training.architecture} seed {training.seed}")
def classification(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
) -> Classified:
    """Train a classifier of normal against pneumonia, calibrate it on validation and score it on test, once."""
    forms = {"dataset": dataset, "training": training, "evaluation": evaluation}
    source = locate_source(dataset)
    with tracking.tracked_run("classification", forms) as run:
        data = prepare_dataset(source, dataset.limit)
        tracking.log_dataset(run, data, "training")
        classifier = train_classifier(data, training, run)
        predictions = predict_classifier(data, classifier)
        calibration = calibrate_classifier(predictions, evaluation.threshold_rule)
        scores = evaluate_classifier(predictions, calibration, evaluation.bootstrap_samples)
        explanation = explain_classifier(data, classifier)
        plots = plot_classification(data, classifier, predictions, calibration, explanation, evaluation.failures)
        document = document_classification(data, classifier, calibration, scores, training)

        tracking.log_epochs(run, classifier.history)
        tracking.log_metrics(run, scores.metrics | {"train/seconds": classifier.seconds})
        tracking.log_metrics(run, {"calibration/temperature": calibration.temperature, "threshold": scores.threshold})
        tracking.log_files(run, {f"figures/{name}.png": stored for name, stored in plots.figures.items()})
        tracking.log_files(run, {"report.md": document.document, "data_audit.json": data.audit})
        tracking.log_files(run, {"model/classifier.safetensors": classifier.weights})
        shown = ("confusion_matrix", "roc_curve", "grad_cam", "failure_cases")
        show_document("classification", document, {name: plots.figures[name] for name in shown})
        show_steps("classification", outcomes([str(flow_run.id)]))
    return Classified(
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


if __name__ == "__main__":
    from flows.shell import main

    raise SystemExit(main(classification))
