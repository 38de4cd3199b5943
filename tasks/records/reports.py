"""What the steps of the reports hand on."""

from typing import Any

from pydantic import Field

from tasks.records.base import Record, RunReference, StoredFile, provenance


class ChosenCasesRecord(Record):
    """The cases that get a report.

    Attributes:
        indices: their positions in the test split.
        groups: why each was chosen: correct, missed, false alarm or borderline.
        explained: the class whose evidence is told of each, by label.
    """

    indices: tuple[int, ...]
    groups: tuple[str, ...]
    explained: tuple[int, ...]


class CasesRecord(Record):
    """The cases that get a report, with the evidence that each generator is given.

    Attributes:
        cases: JSON list of cases.
        indices: their positions in the test split.
        groups: why each was chosen: correct, missed, false alarm or borderline.
        truths: true class of each, which no generator is told.
        heat_maps: npz with `maps`, the Grad-CAM map of each, in [0, 1], shape (cases, height, width).
        classifier_sha256: digest of the weights behind the evidence.
        classifier: title of the classifier.
    """

    cases: StoredFile
    indices: tuple[int, ...]
    groups: tuple[str, ...]
    truths: tuple[str, ...]
    heat_maps: StoredFile
    classifier_sha256: str
    classifier: str = provenance("")

    @property
    def truth_by_index(self) -> dict[int, str]:
        """True class of each case, by its position in the test split."""
        return dict(zip(self.indices, self.truths, strict=True))


class GeneratorRecord(Record):
    """What writes the reports, as it was found.

    Attributes:
        name: `template`, `medgemma` or `openai`.
        strategies: prompting strategies of a language model.
        model: hub id or folder of the weights, or the name that a server has for them.
        revision: commit on the hub, digest of the folder, or what the server says of the weights.
        random_weights: whether the weights say of themselves that they were never trained.
        precision: number format of the weights.
        server: address of the server that runs the model, or None where it runs here.
        server_version: that server and its version, as far as it tells.
        device: `cuda` or `cpu`; `server` where a server runs the model.
        image_first: whether the image stands before the prompt's text.
        conventions: release whose published prompts are followed.
        thinking_tokens: budget of a block of thought; 0 bars it.
        path: where the weights lie.
        at_once: reports per batch on the device or requests in flight, or None.
        token_block: Prefect Secret block with the hub's token.
        compiled: whether decoding is compiled, with a static cache.
        key_block: Prefect Secret block with the server's key.
    """

    name: str
    strategies: tuple[str, ...] = ()
    model: str | None = None
    revision: str | None = None
    random_weights: bool = False
    precision: str | None = None
    server: str | None = None
    server_version: str | None = None
    device: str = provenance("cpu")
    image_first: bool = True
    conventions: str | None = None
    thinking_tokens: int = 0
    path: str = provenance("")
    at_once: int | None = provenance(None)
    token_block: str = provenance("")
    compiled: bool = False
    key_block: str = provenance("")


class RequestsRecord(Record):
    """The reports that are asked for.

    Attributes:
        requests: JSON list of rows, each a row id and a request; plain requests first.
        images: npz with `images`, every image that is shown, once, shape (images, height, width).
        rows_per_case: how many different rows the requests of each case are, those of earlier cases left out.
        generator: what is to write them.
        settings: what decides the texts of each strategy beside its prompts.
        classifier_sha256: digest of the weights behind the evidence.
    """

    requests: StoredFile
    images: StoredFile
    rows_per_case: tuple[int, ...]
    generator: GeneratorRecord
    settings: dict[str, dict[str, Any]]
    classifier_sha256: str

    @property
    def rows(self) -> int:
        """How many different rows the requests are."""
        return sum(self.rows_per_case)


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


class ReferencesRecord(Record):
    """Reference reports that the written ones are compared with.

    Attributes:
        references: JSON list of references.
        count: how many.
    """

    references: StoredFile
    count: int


class ReportAuditRecord(Record):
    """What the audit of the reports found.

    Attributes:
        metrics: `reports/…`.
        table: JSON table of the reports with `columns` and `data`.
        feedback: JSON of each row's scores by name.
        claims: JSON of each plain row's unsupported claims: kind, words, status.
        signatures: how the words were compared with references, as sacreBLEU writes it, by score.
    """

    metrics: dict[str, float]
    table: StoredFile
    feedback: StoredFile
    claims: StoredFile
    signatures: dict[str, str] = Field(default_factory=dict)


class PagesRecord(Record):
    """Pages and documents of single cases.

    Attributes:
        files: stored file by path, `cases/0012.html` for instance.
    """

    files: dict[str, StoredFile]


class ReportsResult(Record):
    """What the reports flow hands on.

    Attributes:
        flow_run_id: Prefect flow run.
        run: MLflow run.
        answers: what came of every request.
        audit: what the audit found.
        figures: PNG by name, those of the findings included.
    """

    flow_run_id: str
    run: RunReference
    answers: AnswersRecord
    audit: ReportAuditRecord
    figures: dict[str, StoredFile] = provenance({})
