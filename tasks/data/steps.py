"""Steps of the data: find the file, validate and audit it, store it."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from models.bounded_file import read_file
from models.bounds import CORRECTIONS_BYTES
from models.errors import InputError
from models.text import printable, reason
from tasks.data.audit import Audit, audit, audit_table
from tasks.data.catalogue import SEVERAL, Entry, locate, look_up
from tasks.data.corrections import corrected_labels, corrections_csv, read_corrections
from tasks.data.data_card import DataFacts, data_card
from tasks.data.image_folder import ImageFolder, describe_folder, list_folder, listing, read_folder
from tasks.data.phantoms import draw_phantoms
from tasks.data.subset import take_first
from tasks.data.validation import SPLITS, Splits, dump_splits, read_splits
from tasks.execution.caching import step
from tasks.parameters.dataset import DatasetParameters
from tasks.records.base import StoredFile
from tasks.records.data import (
    CHEST_X_RAYS,
    OWN,
    OWN_FOLDER,
    SEVERAL_LABELS,
    UNKNOWN_LICENCE,
    DatasetRecord,
    PictureRecord,
    SourceRecord,
)
from tasks.storage.locations import data_folder
from tasks.storage.store import Store

PHANTOM_SEED = 0
OFFICIAL_TEST, PHANTOM_TEST = (624, 234), (160, 60)
"""Images of the test split and how many of them are normal, the smaller class."""


def why_template_only(name: str) -> str | None:
    """Say why no language model reports on the images of a dataset; None where one may.

    Args:
        name: MedMNIST's name of the dataset.
    """
    if name == CHEST_X_RAYS:
        return None
    return (
        "Prompts, controls, the lexicon of the audit and the codes of DICOM and FHIR results are about chest X-rays, "
        f"normal or pneumonia, so that reports on {name} are the template's alone."
    )


def require_prompts(name: str, wanted: str) -> None:
    """Refuse a dataset that the prompts are not made for.

    Args:
        name: MedMNIST's name of the dataset.
        wanted: the field of the form that asks for more than the template, for the sentence.

    Raises:
        InputError: it is not PneumoniaMNIST.
    """
    require_one_label(name, wanted)
    if reason := why_template_only(name):
        raise InputError(f"--dataset.name {name} has no {wanted}: {reason} Leave the generator template, alone.")


def why_one_label_only(name: str) -> str | None:
    """Say why what counts cases of one class does not apply to a dataset; None where it does.

    Args:
        name: MedMNIST's name of the dataset.
    """
    if name not in SEVERAL_LABELS:
        return None
    return f"The images of {name} have several labels each, so that they are classified label by label and no more."


def require_one_label(name: str, wanted: str) -> None:
    """Refuse a dataset whose images have several labels.

    Args:
        name: MedMNIST's name of the dataset.
        wanted: what was asked for, for the sentence.

    Raises:
        InputError: they have.
    """
    if reason := why_one_label_only(name):
        raise InputError(f"--dataset.name {name} has no {wanted}: {reason} Choose a set with one class an image.")


def locate_source(parameters: DatasetParameters) -> SourceRecord:
    """Find the dataset and take its digests, which is quick and therefore done in every run.

    Raises:
        InputError: if there is none, it is not the official one, or a folder has another layout.
    """
    source = locate(
        parameters.name,
        parameters.size,
        path=None if parameters.path is None else Path(parameters.path),
        folder=data_folder(),
        allow_phantoms=parameters.phantoms,
    )
    corrections = None
    if parameters.corrections is not None:
        require_one_label(parameters.name, "--dataset.corrections")
        if parameters.limit is not None:
            raise InputError(
                f"--dataset.corrections names images of the whole file, and --dataset.limit {parameters.limit} leaves "
                "some out: give one of the two."
            )
        corrections = Store().put(_corrections(Path(parameters.corrections)), "text/csv")
    return SourceRecord(
        name=source.flag,
        kind=source.kind,
        size=source.size,
        sha256=source.sha256 or "",
        md5=source.md5 or "",
        corrections=corrections,
        path=str(source.path or ""),
        corrections_path=parameters.corrections or "",
    )


def _corrections(path: Path) -> bytes:
    file = path.expanduser()
    try:
        return read_file(file, CORRECTIONS_BYTES)
    except ValueError as error:
        raise InputError(
            f"--dataset.corrections {printable(path, 80)} is larger than {CORRECTIONS_BYTES >> 20} MiB: expected a "
            "list of corrected labels, such as doubtful_labels.csv of a run."
        ) from error
    except OSError as error:
        raise InputError(
            f"--dataset.corrections {printable(path, 80)} cannot be read ({reason(error)}): give a list of corrected "
            "labels, such as doubtful_labels.csv of a run."
        ) from error


def count_test_images(source: SourceRecord, limit: int | None) -> int | None:
    """Say how many images the test split will have, before any is read; None for one's own file or folder."""
    if source.kind in OWN:
        return None
    images = PHANTOM_TEST[0] if source.kind == "phantoms" else look_up(source.name, source.size).images["test"]
    return images if limit is None else min(limit, images)


def smallest_test_class(source: SourceRecord, limit: int | None) -> int | None:
    """Say how many images the smaller class of the test split will have, before any is read.

    Args:
        source: the images, or the phantoms in their place.
        limit: most images of a split.

    Returns:
        The number; None for one's own file or folder, and for another set than the chest X-rays, which have to be read
        for that.
    """
    if source.kind in OWN or source.name != CHEST_X_RAYS:
        return None
    images, smallest = PHANTOM_TEST if source.kind == "phantoms" else OFFICIAL_TEST
    return smallest if limit is None or limit >= images else smallest * limit // images


@step
def prepare_dataset(source: SourceRecord, limit: int | None) -> DatasetRecord:
    """Validate the dataset, audit it and store it as arrays."""
    store, entry = Store(), look_up(source.name, source.size)
    folder = None
    if source.kind == OWN_FOLDER:
        folder, splits, whole = _read_folder(source, entry, limit)
    else:
        splits = _read(source, entry)
        whole = {split: len(splits.labels(split)) for split in SPLITS}
        if limit is not None:
            splits = take_first(splits, limit)
    drawn_or_read, corrected, kept = dump_splits(splits), 0, None
    if source.corrections is not None:
        classes = [entry.labels[label] for label in sorted(entry.labels)]
        content = store.get(source.corrections)
        changes = read_corrections(content, source.corrections_path, splits.train_labels, classes)
        splits = replace(splits, train_labels=corrected_labels(splits.train_labels, changes))
        corrected, kept = len(changes), store.put(corrections_csv(changes, classes), "text/csv")
    source_md5 = source.md5 or hashlib.md5(drawn_or_read, usedforsecurity=False).hexdigest()
    source_sha256 = source.sha256 or hashlib.sha256(drawn_or_read).hexdigest()
    counts = {split: len(splits.labels(split)) for split in SPLITS}
    found, content = audit(splits, entry.labels), dump_splits(splits)
    audited, shown = asdict(found), audit_table(found)
    if folder is not None:
        audited["folder"] = asdict(folder.audit())
        shown = f"{describe_folder(folder.audit())}\n{shown}"
    record = DatasetRecord(
        name=source.name,
        kind=source.kind,
        size=source.size,
        channels=entry.channels,
        labels=tuple(entry.labels[label] for label in sorted(entry.labels)),
        licence={"phantoms": "none: drawn", "official": entry.licence}.get(source.kind, UNKNOWN_LICENCE),
        md5=source_md5 if kept is None else hashlib.md5(_both(source_md5, kept), usedforsecurity=False).hexdigest(),
        sha256=source_sha256 if kept is None else hashlib.sha256(_both(source_sha256, kept)).hexdigest(),
        splits=store.put(content, "application/x-npz"),
        audit=store.put_json(audited),
        audit_table=store.put(shown.encode(), "text/markdown"),
        counts=counts,
        excluded_train=tuple(found.train_shared_with_validation),
        phantoms=source.kind == "phantoms",
        limit=None if counts == whole else limit,
        source_sha256=source_sha256,
        corrected=corrected,
        corrections=kept,
        source=source.path,
        listing=None if folder is None else store.put(listing(folder, entry.labels), "text/csv"),
    )
    return record.model_copy(update={"card": store.put_json(_card(record, entry, found, source_md5))})


def _both(digest: str, corrections: StoredFile) -> bytes:
    return f"{digest} {corrections.sha256}".encode()


def _card(record: DatasetRecord, entry: Entry, found: Audit, md5: str) -> dict[str, Any]:
    file = Path(record.source).name or f"{record.name}-phantoms.npz"
    official = record.kind == "official"
    facts = DataFacts(
        name=record.name,
        title=record.title,
        description=entry.description if official else "",
        file=file,
        address=entry.address if official else file,
        official=official,
        phantoms=record.phantoms,
        licence=record.licence,
        md5=md5,
        sha256=record.source_sha256,
        size=record.size,
        labels=record.labels,
        corrected=record.corrected,
    )
    return data_card(facts, found)


def _read_folder(source: SourceRecord, entry: Entry, limit: int | None) -> tuple[ImageFolder, Splits, dict[str, int]]:
    """Read a folder; of its files only those that the limit leaves are decoded. Also return how many images it has."""

    def unchanged() -> ImageFolder:
        found = list_folder(Path(source.path), entry.labels, entry.flag)
        if found.sha256 != source.sha256:
            raise InputError(f"{source.path} changed while it was being read: run again once it is complete.")
        return found

    whole = unchanged()
    kept = whole if limit is None else whole.first(limit)
    splits = read_folder(kept, source.size)
    unchanged()
    return kept, splits, whole.counts()


def _read(source: SourceRecord, entry: Entry) -> Splits:
    if source.kind == "phantoms":
        return draw_phantoms(source.size, PHANTOM_SEED)
    content = Path(source.path).read_bytes()
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise InputError(f"{source.path} changed while it was being read: run again once it is complete.")
    return read_splits(
        content,
        labels=entry.labels,
        size=source.size,
        channels=entry.channels,
        name=source.path,
        several=entry.task == SEVERAL,
    )


def read_picture(path: str, size: int, channels: int = 1) -> PictureRecord:
    """Read an image file, which may change any time and is therefore read in every run.

    Args:
        path: the file.
        size: side of the images of the dataset in pixels.
        channels: 1 where they are grey, 3 where they are in colour.

    Returns:
        The picture.

    Raises:
        InputError: it cannot be read.
    """
    from tasks.data.pictures.image_file import read_image
    from tasks.shared.model_size import to_model_size

    original = read_image(path, colour=channels == 3)
    arrays = {"original": original, "image": to_model_size(original, size)}
    return PictureRecord(name=Path(path).name, arrays=Store().put_arrays(arrays))
