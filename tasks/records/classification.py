"""What the steps of the classification hand on."""

from typing import Any

from models.choices import PROBE
from models.classifier.epoch_metrics import EpochMetrics
from tasks.records.base import ArrayRecord, Record, RunReference, StoredFile, provenance
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EncoderRecord


class PretrainedRecord(Record):
    """Weights that a training starts from.

    Attributes:
        sha256: digest of the file.
        path: where it was found.
    """

    sha256: str
    path: str = provenance("")


class ProbeRecord(Record):
    """How a probe was fitted.

    Attributes:
        strength: the inverse strength of the regularisation, C, that was chosen.
        candidates: each C that was tried, with its class-balanced log-loss and its AUC on validation.
    """

    strength: float
    candidates: tuple[tuple[float, float, float], ...]


class ClassifierRecord(Record):
    """A trained classifier.

    Attributes:
        architecture: name of the network.
        weights: safetensors with a JSON card (normalisation, labels, image size).
        best_epoch: the epoch whose weights these are; 0 of a probe.
        dataset_sha256: digest of the dataset file it was trained on.
        history: one entry per epoch; none of a probe.
        seconds: wall time of the training, resumed parts included.
        run_id: MLflow run that made it.
        seed: of the training; None where its file does not tell.
        encoder: of a probe, the frozen encoder; its weights are not in the file.
        probe: of a probe that was fitted in this run, how.
        pruned: whether a search ended its training early; nothing is made of it then.
    """

    architecture: str
    weights: StoredFile
    best_epoch: int
    dataset_sha256: str
    history: tuple[EpochMetrics, ...] = provenance(())
    seconds: float = provenance(0.0)
    run_id: str = provenance("")
    seed: int | None = provenance(None)
    encoder: EncoderRecord | None = provenance(None)
    probe: ProbeRecord | None = provenance(None)
    pruned: bool = provenance(False)

    @property
    def title(self) -> str:
        """What figures call it: network and seed, of a probe its encoder."""
        if self.encoder is not None:
            return f"{PROBE} on {self.encoder.name}" + " with random weights" * self.encoder.random_weights
        return self.architecture if self.seed is None else f"{self.architecture}, seed {self.seed}"


class PredictionsRecord(Record):
    """Outputs of the classifier.

    Attributes:
        outputs: npz with `{split}_logits`, (N,) of two classes, else (N, classes), and `{split}_labels` (N,) for val
            and test, and `{split}_embeddings` (N, features) for these and for train without the images left out.
        classifier_sha256: digest of the weights.
        classifier: title of the classifier.
    """

    outputs: StoredFile
    classifier_sha256: str
    classifier: str = provenance("")


class CalibrationRecord(Record):
    """What validation says of the scores.

    Attributes:
        temperature: divisor of the logits.
        threshold: operating point on the calibrated probability of class 1; None for more than two classes, of which
            the likeliest is predicted.
        rule: how the threshold was set; None for more than two classes.
        candidates: threshold by rule, for the table of operating points.
    """

    temperature: float
    threshold: float | None
    rule: str | None
    candidates: dict[str, float]


class EvaluationRecord(Record):
    """Scores of the classifier, test scored once.

    Attributes:
        metrics: `val/auc`, `test/…` and the bounds of their intervals.
        validation: each score on validation at the same threshold.
        operating_points: a threshold, how it was chosen and its scores on test, the one in use first.
        confusion: test images, rows by true class, columns by predicted class.
        predictions: npz of the test split with `probabilities` (calibrated), `predicted`, `confidence` in what is
            predicted, and `labels`.
        classifier_sha256: digest of the weights.
        threshold: operating point on the calibrated probability; None for more than two classes. Where an image may
            have several labels, there are neither operating points nor a confusion, and the arrays a column a label.
        classifier: title of the classifier.
    """

    metrics: dict[str, float]
    validation: dict[str, float]
    operating_points: tuple[dict[str, Any], ...]
    confusion: tuple[tuple[int, ...], ...]
    predictions: StoredFile
    classifier_sha256: str
    threshold: float | None
    classifier: str = provenance("")


class FoldsRecord(Record):
    """Parts of the training split that are left out in turn.

    Attributes:
        folds: npz with `fold` (N,), the part of each image.
        count: number of parts.
        dataset_sha256: digest of the dataset file.
    """

    folds: StoredFile
    count: int
    dataset_sha256: str


class PackageRecord(Record):
    """A classifier with all that its user must know, as it is registered.

    Attributes:
        package: safetensors whose card holds preprocessing, temperature, threshold, data and intended use.
    """

    package: StoredFile


class GraphRecord(Record):
    """A classifier as a graph for services without PyTorch.

    Attributes:
        graph: ONNX; None where there is none.
        reason: why there is none, in a sentence.
        metrics: how it was compared with the classifier on test images.
    """

    graph: StoredFile | None
    reason: str
    metrics: dict[str, float]


class ComparisonRecord(Record):
    """A classifier against the champion on validation.

    Attributes:
        difference: class-balanced log-loss of the champion less that of the challenger.
        low: lower bound of its 95 % interval.
        high: upper bound.
        promoted: whether the challenger is better beyond chance.
        auc: area under the ROC curve of the challenger.
        champion_auc: that of the champion.
        reason: the finding in words.
    """

    difference: float
    low: float
    high: float
    promoted: bool
    auc: float
    champion_auc: float
    reason: str


class TrialRecord(Record):
    """Scores of one training of a sweep.

    Attributes:
        metrics: by name; empty where it was pruned.
        curve: class-balanced log-loss on validation after each epoch, before temperature scaling; none of a probe.
        pruned: whether the search ended it early.
        run_id: MLflow run.
    """

    metrics: dict[str, float]
    curve: tuple[float, ...] = ()
    pruned: bool = False
    run_id: str = provenance("")


class ClassificationResult(Record):
    """What the classification flow hands on.

    Attributes:
        flow_run_id: Prefect flow run.
        run: MLflow run.
        dataset: the data.
        classifier: the network.
        predictions: its logits.
        calibration: temperature and operating point.
        evaluation: its scores.
        explanation: Grad-CAM maps of the test images; None where an image may have several labels.
        figures: PNG by name, those of the findings included.
        decision: whether the classifier is champion now, and why.
    """

    flow_run_id: str
    run: RunReference
    dataset: DatasetRecord
    classifier: ClassifierRecord
    predictions: PredictionsRecord
    calibration: CalibrationRecord
    evaluation: EvaluationRecord
    explanation: ArrayRecord | None
    figures: dict[str, StoredFile] = provenance({})
    decision: str = provenance("")


class EvaluatedClassifier(Record):
    """A classifier with its data and its scores: what the retrieval takes of a classification.

    Attributes:
        dataset: the images.
        classifier: the classifier.
        evaluation: what it says of the test split.
    """

    dataset: DatasetRecord
    classifier: ClassifierRecord
    evaluation: EvaluationRecord
