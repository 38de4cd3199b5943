"""The smallest stage: a training with its run in both trackers, a report, a figure and a file.

python -m tests.soak.one_stage --dataset.limit 64
"""

import flows  # noqa: F401, I001  first, since it sets the environment that Prefect reads
from prefect import flow

from flows.support.products import Products, publish, stage_run
from flows.support.provenance import log_dataset
from tasks.classification.steps.training import predict_classifier, train_classifier
from tasks.data.steps import locate_source, prepare_dataset
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import DocumentRecord
from tasks.storage.store import Store
from tasks.tracking import runs
from tasks.classification.epoch_curves import epoch_points

_DATASET, _TRAINING = DatasetParameters(), TrainingParameters()


@flow
@in_plain_words
def one_stage(dataset: DatasetParameters = _DATASET, training: TrainingParameters = _TRAINING) -> None:
    """Train a classifier and publish what it says of the images."""
    source = locate_source(dataset)
    with stage_run("classification", {"dataset": dataset, "training": training}) as stage:
        data = prepare_dataset(source, dataset.limit)
        log_dataset(stage.run, data, "training")
        classifier = train_classifier(data, training, None, stage.run)
        predictions = predict_classifier(data, classifier)
        runs.log_points(stage.run, epoch_points(classifier.history))
        document = DocumentRecord(document=Store().put(b"# Trained", "text/markdown"))
        files = {"model/classifier.safetensors": classifier.weights, "predictions.npz": predictions.outputs}
        publish(stage, Products(data, document, {"test/epochs": classifier.best_epoch}, files=files))


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(one_stage))
