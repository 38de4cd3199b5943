"""Datasets and images that were read."""

from tasks.records.base import Record, StoredFile, provenance

OWN_FOLDER = "own folder"
OWN = ("own file", OWN_FOLDER)
"""Kinds of data that a user brings, of which nothing is known before they are read."""
CHEST_X_RAYS = "pneumoniamnist"
"""The set that prompts, reports and clinical codes are about."""
GRADED = ("retinamnist",)
"""The sets of MedMNIST whose classes are grades; a test compares them with its own list."""
SEVERAL_LABELS = ("chestmnist",)
"""The sets of MedMNIST whose images have several labels each, or none; a test compares them with its own list."""
UNKNOWN_LICENCE = "unknown: own data"


class SourceRecord(Record):
    """The dataset file that was found, before it is read.

    Attributes:
        name: MedMNIST flag, `pneumoniamnist`.
        kind: `official` (checksum verified), `own file`, `own folder` (checksum recorded) or `phantoms`.
        size: side of an image in pixels.
        sha256: digest of the file; of all names and contents for a folder, of the drawing's version for phantoms.
        md5: MD5 of the same, the sum that MedMNIST publishes.
        corrections: CSV of training labels that a person has corrected; None where nobody has.
        path: where it was found.
        corrections_path: where that of the corrections was.
    """

    name: str
    kind: str
    size: int
    sha256: str
    md5: str
    corrections: StoredFile | None = None
    path: str = provenance("")
    corrections_path: str = provenance("")


class DatasetRecord(Record):
    """A validated dataset.

    Attributes:
        name: MedMNIST flag.
        kind: as in `SourceRecord`.
        size: side of an image in pixels.
        channels: 1 for grey images, 3 for colour images.
        labels: names of the classes, by label.
        licence: licence of the images; `UNKNOWN_LICENCE` of one's own.
        md5: MD5 of the source file; with corrected labels, of its MD5 and theirs.
        sha256: likewise.
        splits: npz with `train_images` (N, size, size) uint8, in colour (N, size, size, 3), `train_labels` (N,) int64,
            or where an image has several labels (N, labels) of 0 and 1, likewise `val` and `test`.
        audit: JSON of the data audit.
        audit_table: the same as markdown.
        counts: images by split.
        excluded_train: indices that leave training since validation holds the same pixels.
        phantoms: whether the images are drawn.
        limit: most images that were kept of each split, the first ones; None where all of the file's are there.
        source_sha256: SHA-256 of the source file alone, by which images, validation and test are known.
        corrected: how many training labels a person has corrected.
        corrections: CSV of these, with what they were before; None where there are none.
        source: where the file was found.
        listing: CSV that says of each image of a folder where it comes from and of whom it is; else None.
        card: the data card, Croissant as JSON-LD.
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
    source_sha256: str = ""
    corrected: int = 0
    corrections: StoredFile | None = None
    source: str = provenance("")
    listing: StoredFile | None = provenance(None)
    card: StoredFile | None = provenance(None)

    @property
    def graded(self) -> bool:
        """Whether the classes are grades, of which some are nearer to each other than others."""
        return self.name in GRADED

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several labels, or none; then `labels` names what it may have."""
        return self.name in SEVERAL_LABELS

    @property
    def title(self) -> str:
        """Name of exactly these images: the set, and in brackets how they differ from its official ones."""
        differs = [self.kind] if self.kind in OWN else ["drawn phantoms"] if self.phantoms else []
        if self.limit is not None:
            differs.append(f"first {self.limit} of each split")
        if self.corrected:
            differs.append(f"{self.corrected} corrected label{'s' * (self.corrected != 1)}")
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


class PictureRecord(Record):
    """An image file that was read.

    Attributes:
        name: of the file, without its folders.
        arrays: npz with `image`, as the dataset has it, and `original`, as the file has it, both uint8.
    """

    name: str
    arrays: StoredFile
