"""Records that pass between tasks: small, frozen, JSON. Tensors and arrays stay in the store.

A record says what something is, where it lies, its digest, its shape and which MLflow run made it. Fields marked with
`provenance` (paths, times, run ids) tell where a thing came from; they are not part of its identity, so that the same
content made again, elsewhere or later, is the same input to the next step.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def provenance(default: Any) -> Any:
    """Declare a field that is not part of a record's identity."""
    return Field(default=default, json_schema_extra={"provenance": True})


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self) -> str:
        """Return the SHA-256 of the record without its provenance."""
        return hashlib.sha256(json.dumps(_identity(self), sort_keys=True).encode()).hexdigest()

    def stored_files(self) -> Iterator["StoredFile"]:
        """Yield every stored file that the record holds, at any depth."""
        for value in self.__dict__.values():
            yield from _stored_files(value)


class StoredFile(Record):
    """A file in the store, named by its content.

    Attributes:
        uri: path below the root of the store, so that the store can be moved.
        sha256: digest of the content.
        size: bytes.
        media_type: MIME type.
    """

    uri: str
    sha256: str
    size: int
    media_type: str


class Reference(Record):
    """Where a step says what it does. Never part of a cache key."""


class RunReference(Reference):
    """The MLflow run that a step logs to.

    Attributes:
        run_id: MLflow run id.
    """

    run_id: str


class ProgressReference(Reference):
    """The progress artifact that steps move.

    Attributes:
        artifact_id: Prefect artifact.
        description: what is done.
        total: units of work.
    """

    artifact_id: str
    description: str
    total: int


class SourceRecord(Record):
    """The dataset file that was found, before it is read.

    Attributes:
        name: MedMNIST flag, `pneumoniamnist`.
        kind: `official` (checksum verified), `own file` (checksum recorded) or `phantoms`.
        size: side of an image in pixels.
        sha256: digest of the file; of the drawing's version for phantoms.
        md5: MD5 of the file, the sum that MedMNIST publishes.
        path: where it was found.
    """

    name: str
    kind: str
    size: int
    sha256: str
    md5: str
    path: str = provenance("")


class DatasetRecord(Record):
    """A validated dataset.

    Attributes:
        name: MedMNIST flag.
        kind: as in `SourceRecord`.
        size: side of an image in pixels.
        channels: 1 for grey images, 3 for colour images.
        labels: names of the classes, by label.
        licence: licence of the images.
        md5: MD5 of the source file.
        sha256: SHA-256 of the source file.
        splits: npz with `train_images` (N, size, size) uint8, in colour (N, size, size, 3), `train_labels` (N,) int64,
            likewise `val` and `test`.
        audit: JSON of the data audit.
        audit_table: the same as markdown.
        counts: images by split.
        excluded_train: indices that leave training since validation holds the same pixels.
        phantoms: whether the images are drawn.
        limit: most images that were kept of each split, the first ones; None where all of the file's are there.
        source: where the file was found.
    """

    name: str
    kind: str
    size: int
    channels: int
    labels: tuple[str, ...]
    licence: str
    md5: str
    sha256: str
    splits: StoredFile
    audit: StoredFile
    audit_table: StoredFile
    counts: dict[str, int]
    excluded_train: tuple[int, ...]
    phantoms: bool
    limit: int | None = None
    source: str = provenance("")

    @property
    def title(self) -> str:
        """Name of exactly these images: the set, and in brackets how they differ from its official ones."""
        kinds = {"own file": "own file", "phantoms": "drawn phantoms"}
        differs = [kinds[self.kind]] if self.kind in kinds else []
        if self.limit is not None:
            differs.append(f"first {self.limit} of each split")
        return self.name + (f" ({', '.join(differs)})" if differs else "")

    @property
    def digest(self) -> str:
        """Digest of exactly these images, at most 36 characters: the file's MD5, with the limit where there is one."""
        return self.md5 if self.limit is None else f"{self.md5[:28]}-{self.limit}"

    @property
    def trial(self) -> str | None:
        """Why what is made of these images is a trial, which takes nobody's model or index away; None for real data."""
        if self.phantoms:
            return "drawn phantoms are no data"
        if self.limit is not None:
            return f"the first {self.limit} images of each split are a part of the data, for a try"
        return None


class EpochRecord(Record):
    """One epoch of a training.

    Attributes:
        epoch: from 1.
        train_loss: mean training loss.
        val_loss: class-balanced log loss on validation.
        val_auc: area under the ROC curve on validation.
        learning_rate: at the end of the epoch.
        seconds: wall time.
        finished_at: Unix time in milliseconds.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float
    learning_rate: float
    seconds: float
    finished_at: int


class PretrainedRecord(Record):
    """Weights that a training starts from.

    Attributes:
        sha256: digest of the file.
        path: where it was found.
    """

    sha256: str
    path: str = provenance("")


class ClassifierRecord(Record):
    """A trained classifier.

    Attributes:
        architecture: name of the network.
        weights: safetensors with a JSON card (normalisation, labels, image size).
        best_epoch: the epoch whose weights these are.
        dataset_sha256: digest of the dataset file it was trained on.
        history: one record an epoch.
        seconds: wall time of the training, resumed parts included.
        run_id: MLflow run that made it.
    """

    architecture: str
    weights: StoredFile
    best_epoch: int
    dataset_sha256: str
    history: tuple[EpochRecord, ...] = provenance(())
    seconds: float = provenance(0.0)
    run_id: str = provenance("")


class PredictionsRecord(Record):
    """Outputs of the classifier.

    Attributes:
        outputs: npz with `{split}_logits`, (N,) of two classes, else (N, classes), and `{split}_labels` (N,) for val
            and test, and `{split}_embeddings` (N, features) for these and for train without the images left out.
        classifier_sha256: digest of the weights.
    """

    outputs: StoredFile
    classifier_sha256: str


class CalibrationRecord(Record):
    """What validation says of the scores.

    Attributes:
        temperature: divisor of the logits.
        threshold: operating point on the calibrated probability of class 1; None for more than two classes, of which
            the likeliest is called.
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
        threshold: operating point on the calibrated probability; None for more than two classes.
    """

    metrics: dict[str, float]
    validation: dict[str, float]
    operating_points: tuple[dict[str, Any], ...]
    confusion: tuple[tuple[int, ...], ...]
    predictions: StoredFile
    classifier_sha256: str
    threshold: float | None


class FindingsRecord(Record):
    """What an analysis found, ready to be shown.

    Attributes:
        name: of the analysis, `trust` for instance.
        metrics: figures for the tracker.
        findings: JSON of everything that was found.
        figures: PNG by name.
        sections: parts of the stage's report, title and markdown of each.
    """

    name: str
    metrics: dict[str, float]
    findings: StoredFile
    figures: dict[str, StoredFile]
    sections: tuple[tuple[str, str], ...]


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


class ArrayRecord(Record):
    """Arrays in one npz.

    Attributes:
        arrays: the npz.
        shapes: shape by name.
    """

    arrays: StoredFile
    shapes: dict[str, tuple[int, ...]]


class FiguresRecord(Record):
    """Figures of a stage.

    Attributes:
        figures: PNG by name.
    """

    figures: dict[str, StoredFile]


class DocumentRecord(Record):
    """A markdown report of a stage.

    Attributes:
        document: the markdown.
    """

    document: StoredFile


class EncoderRecord(Record):
    """What turns images into vectors, and some of them texts.

    Attributes:
        name: of the encoder, `classifier` for instance.
        encoder: its identity: name, source and revision or digest; only vectors of the same identity may be compared.
        weights: the files it is made of, where they are in the store.
        model: hub id or folder of a published network, else empty.
        revision: its commit, or the digest of the folder's files.
        reads_text: whether it turns texts into vectors too.
        licence: under which its weights may be used.
        path: folder with the files of a published network, or its hub id while they are still to be downloaded.
        device: where it computes.
    """

    name: str
    encoder: str
    weights: tuple[StoredFile, ...] = ()
    model: str = ""
    revision: str = ""
    reads_text: bool = False
    licence: str
    path: str = provenance("")
    device: str = provenance("cpu")


class ShardRecord(Record):
    """Vectors of some images of one split, one behind the other.

    Attributes:
        split: the split.
        start: position of the first in the split.
        vectors: npz with `vectors` (N, dimension), not normalised.
        shape: of the vectors.
        encoder: identity of what made them.
    """

    split: str
    start: int
    vectors: StoredFile
    shape: tuple[int, int]
    encoder: str


class EmbeddingsRecord(Record):
    """Vectors of all images.

    Attributes:
        name: of the encoder.
        encoder: its identity.
        dimension: length of a vector.
        shards: parts of each split, in order.
    """

    name: str
    encoder: str
    dimension: int
    shards: dict[str, tuple[ShardRecord, ...]]


class IndexRecord(Record):
    """Vector indices.

    Attributes:
        encoder: identity of what made the vectors.
        dimension: length of a vector.
        kinds: `flat`, `hnsw` or `ivf` by name of the index.
        indices: the index by name: `all`, and one a class under the name of the class; each is over all splits.
        offsets: id of the first image of each split; its others follow.
        metrics: `index/…`: how many of the true neighbours an index finds, and what it takes.
    """

    encoder: str
    dimension: int
    kinds: dict[str, str]
    indices: dict[str, StoredFile]
    offsets: dict[str, int]
    metrics: dict[str, float] = provenance({})


class RetrievalRecord(Record):
    """Retrieval metrics with their intervals.

    Attributes:
        encoder: name of the encoder.
        metrics: `loo/…`, `gallery/…`, `conditioned/…`, `chance/…`.
        per_query: npz of the figures behind them, one value a test image.
        worst: ids of the worst queries, worst first.
    """

    encoder: str
    metrics: dict[str, float]
    per_query: StoredFile
    worst: tuple[int, ...]


class CasesRecord(Record):
    """The cases that get a report, with the evidence that each generator is given.

    Attributes:
        cases: JSON list of cases.
        indices: their positions in the test split.
        groups: why each was chosen: right, missed, false alarm or borderline.
        truths: true class of each, which no generator is told.
        classifier_sha256: digest of the weights behind the evidence.
    """

    cases: StoredFile
    indices: tuple[int, ...]
    groups: tuple[str, ...]
    truths: tuple[str, ...]
    classifier_sha256: str


class GeneratorRecord(Record):
    """What writes the reports, as it was found.

    Attributes:
        name: `template` or `medgemma`.
        strategies: prompting strategies of a language model.
        model: hub id or folder of the weights.
        revision: commit on the hub, or digest of the folder.
        random_weights: whether the weights say of themselves that they were never trained.
        precision: number format of the weights.
        device: `cuda` or `cpu`.
        image_first: whether the image stands before the prompt's text.
        path: where the weights lie.
        at_once: reports a batch on the device, or None.
        token_block: Prefect Secret block with the hub's token.
    """

    name: str
    strategies: tuple[str, ...] = ()
    model: str | None = None
    revision: str | None = None
    random_weights: bool = False
    precision: str | None = None
    device: str = provenance("cpu")
    image_first: bool = True
    path: str = provenance("")
    at_once: int | None = provenance(None)
    token_block: str = provenance("")


class RequestsRecord(Record):
    """The reports that are asked for.

    Attributes:
        requests: JSON list of rows, each a row id and a request; plain requests first.
        images: npz with `images`, every image that is shown, once, shape (images, height, width).
        cases: how many cases are asked about.
        rows: how many different rows the requests are.
        generator: what is to write them.
        settings: what decides the texts of each strategy beside its prompts.
        classifier_sha256: digest of the weights behind the evidence.
    """

    requests: StoredFile
    images: StoredFile
    cases: int
    rows: int
    generator: GeneratorRecord
    settings: dict[str, dict[str, Any]]
    classifier_sha256: str


class WrittenRecord(Record):
    """Some rows, written or failed.

    Attributes:
        rows: JSON list of what came of each.
        quarantined: the files of the failed ones; a row is tried again once its file is removed.
        count: how many rows.
        tokens: tokens that a language model generated for them.
        seconds: time that it took.
        peak_gib: peak GPU memory in GiB, or None on a CPU.
    """

    rows: StoredFile
    quarantined: tuple[StoredFile, ...]
    count: int = provenance(0)
    tokens: int = provenance(0)
    seconds: float = provenance(0.0)
    peak_gib: float | None = provenance(None)


class AnswersRecord(Record):
    """What came of every request.

    Attributes:
        answers: JSON list, in the order of the requests.
        count: how many.
        failed: how many of them are in quarantine.
    """

    answers: StoredFile
    count: int
    failed: int


class ReportAuditRecord(Record):
    """What the audit of the reports found.

    Attributes:
        metrics: `reports/…`.
        table: JSON table of the reports with `columns` and `data`.
        feedback: JSON of each row's scores by name.
        claims: JSON of each plain row's unsupported claims: kind, words, status.
    """

    metrics: dict[str, float]
    table: StoredFile
    feedback: StoredFile
    claims: StoredFile


class PagesRecord(Record):
    """Pages and documents of single cases.

    Attributes:
        files: stored file by path, `cases/0012.html` for instance.
    """

    files: dict[str, StoredFile]


class PackageRecord(Record):
    """A classifier with all that its user must know, as it is registered.

    Attributes:
        package: safetensors whose card holds preprocessing, temperature, threshold, data and intended use.
    """

    package: StoredFile


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


class Classified(Record):
    """What the classification flow hands on.

    Attributes:
        flow_run_id: Prefect flow run.
        run: MLflow run.
        dataset: the data.
        classifier: the network.
        predictions: its logits.
        calibration: temperature and operating point.
        evaluation: its scores.
        explanation: Grad-CAM maps of the test images.
        document: the stage's report.
    """

    flow_run_id: str
    run: RunReference
    dataset: DatasetRecord
    classifier: ClassifierRecord
    predictions: PredictionsRecord
    calibration: CalibrationRecord
    evaluation: EvaluationRecord
    explanation: ArrayRecord
    document: DocumentRecord


class JudgedRecord(Record):
    """A classifier with its data and its scores: what the retrieval takes of a classification.

    Attributes:
        dataset: the images.
        classifier: the classifier.
        evaluation: what it says of the test split.
    """

    dataset: DatasetRecord
    classifier: ClassifierRecord
    evaluation: EvaluationRecord


class Retrieved(Record):
    """What the retrieval flow hands on.

    Attributes:
        flow_run_id: Prefect flow run.
        run: MLflow run.
        retrieval: metrics.
        embeddings: the vectors.
        neighbours: npz with `{split}_ids` and `{split}_similarities` of the nearest train and test images of each
            test image.
        index: the vector indices.
        document: the stage's report.
        flow_run_ids: Prefect flow runs of all encoders, this one's first.
    """

    flow_run_id: str
    run: RunReference
    retrieval: RetrievalRecord
    embeddings: EmbeddingsRecord
    neighbours: ArrayRecord
    index: IndexRecord
    document: DocumentRecord
    flow_run_ids: tuple[str, ...] = provenance(())


class SearchableRecord(Record):
    """What a search needs: the images, and an encoder with its index over them.

    Attributes:
        dataset: the images.
        encoder: the encoder.
        embeddings: its vectors.
        index: its indices.
        run_id: MLflow run that built it; empty in a record of an earlier version of this program.
        published_at: when searches began to take it, UTC in ISO format; empty before.
    """

    dataset: DatasetRecord
    encoder: EncoderRecord
    embeddings: EmbeddingsRecord
    index: IndexRecord
    run_id: str = ""
    published_at: str = ""

    def same_content(self, other: "SearchableRecord") -> bool:
        """Tell whether another one finds the same, whichever run built it and whenever it was published."""
        parts = ("dataset", "encoder", "embeddings", "index")
        return all(getattr(self, part).identity() == getattr(other, part).identity() for part in parts)


class PictureRecord(Record):
    """An image file that was read.

    Attributes:
        name: of the file, without its folders.
        arrays: npz with `image`, as the dataset has it, and `original`, as the file has it, both uint8.
    """

    name: str
    arrays: StoredFile


class SearchRecord(Record):
    """What a search found.

    Attributes:
        result: JSON: the query, the images found with their labels and similarities, and the notice.
        gallery: PNG.
        document: markdown.
    """

    result: StoredFile
    gallery: StoredFile
    document: StoredFile


class Reported(Record):
    """What the reports flow hands on.

    Attributes:
        flow_run_id: Prefect flow run.
        run: MLflow run.
        answers: what came of every request.
        audit: what the audit found.
        document: the stage's report.
    """

    flow_run_id: str
    run: RunReference
    answers: AnswersRecord
    audit: ReportAuditRecord
    document: DocumentRecord


def _identity(value: Any) -> Any:
    if isinstance(value, StoredFile):
        return [value.sha256, value.media_type]
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: _identity(getattr(value, name))
            for name, field in fields.items()
            if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("provenance"))
        }
    if isinstance(value, dict):
        return {str(key): _identity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(item) for item in value]
    return value


def _stored_files(value: Any) -> Iterator[StoredFile]:
    if isinstance(value, StoredFile):
        yield value
    elif isinstance(value, Record):
        yield from value.stored_files()
    elif isinstance(value, dict):
        for item in value.values():
            yield from _stored_files(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _stored_files(item)
