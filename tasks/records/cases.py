"""What the steps of the cases hand on."""

from tasks.records.base import Record, RunReference, StoredFile, provenance
from tasks.records.classification import ClassifierRecord
from tasks.records.data import CHEST_X_RAYS
from tasks.records.retrieval import SearchableRecord


class PictureFile(Record):
    """A file that a person brings.

    Attributes:
        sha256: digest of its content.
        size: bytes.
        address: where it lies: a path, an fsspec URI or an address of DICOMweb.
        name: its name without its folders.
        login_block: Prefect Secret block with the login of an archive.
    """

    sha256: str
    size: int
    address: str = provenance("")
    name: str = provenance("")
    login_block: str = provenance("")


class PicturesRecord(Record):
    """Some files, each picture once.

    Attributes:
        files: the files.
    """

    files: tuple[PictureFile, ...]


class ReferenceRecord(Record):
    """What a picture is judged by: a classifier, and what it says of the images whose class is known.

    Attributes:
        classifier: the classifier.
        labels: names of the classes, by label.
        size: side of the images that it reads, in pixels.
        temperature: divisor of its logits.
        threshold: operating point on the calibrated probability of class 1; None for more than two classes.
        arrays: npz with `val_probabilities`, calibrated, (images,) or (images, classes), `val_labels`, (images,),
            `set_probabilities` and `set_labels` of corrupted copies of validation images, where conformal sets are
            calibrated on them, and `screening/…`, what the screening was fitted to.
        channels: 1 where the classifier reads grey images, 3 for colour images.
        dataset: MedMNIST's name of the images that it was trained on.
        version: version in the registry.
    """

    classifier: ClassifierRecord
    labels: tuple[str, ...]
    size: int
    temperature: float
    threshold: float | None
    arrays: StoredFile
    channels: int = 1
    dataset: str = CHEST_X_RAYS
    version: str = provenance("")


class JudgedRecord(Record):
    """Cases that were judged.

    Attributes:
        cases: JSON list of cases, one of each file.
        count: how many.
    """

    cases: StoredFile
    count: int


class ExplainedRecord(Record):
    """Heat maps of some pictures.

    Attributes:
        arrays: npz with `images`, as the classifier saw them, (pictures, height, width) uint8, of colours with an axis
            of 3 more; `maps`, evidence for two classes, (pictures, 2, height, width) float16; and `targets`, which
            these are, (pictures, 2): both of two classes, of more the runner-up and the predicted one.
    """

    arrays: StoredFile


class ShownRecord(Record):
    """The cases that get a page, with all that it shows.

    Attributes:
        files: where they come from.
        judged: the cases, in the same order.
        explained: their pictures and heat maps, likewise.
        reference: what they were judged by.
        searchables: the indices in which similar cases were found.
    """

    files: PicturesRecord
    judged: JudgedRecord
    explained: ExplainedRecord
    reference: ReferenceRecord
    searchables: tuple[SearchableRecord, ...]


class CaseFilesRecord(Record):
    """Products of some cases.

    Attributes:
        files: by path below the folder of the run.
    """

    files: dict[str, StoredFile]


class CasesResult(Record):
    """What the flow of the cases hands on.

    Attributes:
        flow_run_id: Prefect flow run.
        run: MLflow run.
        cases: JSON list of all cases, the most urgent first.
        metrics: `cases/…`.
    """

    flow_run_id: str
    run: RunReference
    cases: StoredFile
    metrics: dict[str, float]
