"""One's own pictures as a dataset: a folder in the layout of torchvision's ImageFolder.

`FOLDER/train/CLASS/…`, likewise `val` and `test`; or `FOLDER/CLASS/…` alone, of which splits are made. A file's name
may name a patient. It is used to find out what belongs together and leaves this module only where it is one of the
public names that `tasks.data.patients` knows; else the image is called by the digest of its content.
"""

import csv
import hashlib
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.choices import Split
from models.errors import InputError
from models.text import printable
from tasks.data.patients import FOLDS, SEED, divide, patient_of, together
from tasks.data.pictures.image_file import read_image
from tasks.data.subset import first_of_each_class
from tasks.data.validation import SPLITS, Splits, refuse_oversize
from tasks.shared.model_size import to_model_size

_PASSED_OVER = ("__MACOSX", "Thumbs.db", "desktop.ini")  # and hidden ones: what systems leave in folders
_DIGITS = 12  # of a digest that stands for a name
_FOLDER = "folder "  # before the name of a folder that stands for a patient


@dataclass(frozen=True)
class FolderImage:
    """One file.

    Attributes:
        path: where it lies.
        relative: its path below the folder of the dataset.
        split: the folder says so, or it was divided.
        label: its class.
        sha256: digest of its content.
        patient: of whom it is, which may be a name; None where nothing says so.
    """

    path: Path = field(repr=False)
    relative: str = field(repr=False)
    split: Split
    label: int
    sha256: str
    patient: str | None = field(repr=False)

    @property
    def shown(self) -> str:
        """Its name, where it may be shown; else the first digits of its digest."""
        return self.path.name if patient_of(self.path.name) else self.sha256[:_DIGITS]


@dataclass(frozen=True)
class FolderAudit:
    """How the images of a folder are divided.

    Attributes:
        made: whether the splits were made here.
        patients: number of patients that names of files or folders tell apart.
        unnamed: images of which nothing says of whom they are.
        in_two_splits: patients whose images lie in two splits, by the names of these.
    """

    made: bool
    patients: int
    unnamed: int
    in_two_splits: dict[str, int]


@dataclass(frozen=True)
class ImageFolder:
    """The files of a dataset, before any is decoded.

    Attributes:
        root: the folder.
        images: every image, by class and then by name, as ImageFolder puts them.
        made: whether the splits were made here.
        sha256: digest of all names and contents.
        md5: likewise.
    """

    root: Path
    images: tuple[FolderImage, ...]
    made: bool
    sha256: str
    md5: str

    def of(self, split: Split) -> list[FolderImage]:
        """Return the images of a split, in order."""
        return [image for image in self.images if image.split == split]

    def counts(self) -> dict[str, int]:
        """Count the images by split."""
        return {split: len(self.of(split)) for split in SPLITS}

    def first(self, limit: int) -> "ImageFolder":
        """Keep the first images of each split, as `tasks.data.subset.take_first` does.

        Raises:
            InputError: the share of a class is less than one image.
        """
        kept: list[FolderImage] = []
        for split in SPLITS:
            images = self.of(split)
            labels = np.array([image.label for image in images], dtype=np.int64)
            kept += [images[place] for place in first_of_each_class(labels, limit, split)]
        return replace(self, images=tuple(kept))

    def audit(self) -> FolderAudit:
        """Count patients, within splits and across."""
        patients = {split: {image.patient for image in self.of(split)} - {None} for split in SPLITS}
        return FolderAudit(
            made=self.made,
            patients=len(set.union(*patients.values())),
            unnamed=sum(image.patient is None for image in self.images),
            in_two_splits={
                f"{one} and {other}": len(patients[one] & patients[other]) for one, other in combinations(SPLITS, 2)
            },
        )


def list_folder(root: Path, labels: Mapping[int, str], flag: str) -> ImageFolder:
    """Find the images of a folder, take their digests, and divide them where the folder does not.

    Args:
        root: the folder.
        labels: the classes, from label to name.
        flag: MedMNIST's name of the dataset that these are the classes of.

    Returns:
        The files. None was decoded.

    Raises:
        InputError: the layout is another one, a class is unknown or empty, a file cannot be read, or there are too
            few images to divide.
    """
    try:
        parts = {each.name.casefold(): each for each in _entries(root) if each.is_dir()}
        named = {split: parts[split] for split in SPLITS if split in parts}
        if not named:
            images = _images_of(root, root, "train", labels, flag)
            divided = _divide(root, images, labels)
            return _folder(root, divided, made=True)
        if len(named) < len(SPLITS):
            missing = ", ".join(split for split in SPLITS if split not in named)
            raise InputError(
                f"{printable(root)} lacks {missing}: expected folders train, val and test, each with a folder a "
                "class; add it, or put the folders of the classes alone into one folder, and splits are made."
            )
        if beside := sorted(parts.keys() - named.keys()):
            raise InputError(
                f"{printable(root)} holds the folder {printable(parts[beside[0]].name, 40)} beside train, val and "
                "test: expected these three alone; move it elsewhere."
            )
        found = [image for split, place in named.items() for image in _images_of(root, place, split, labels, flag)]
        return _folder(root, found, made=False)
    except OSError as error:  # its own words hold the path, and with it perhaps a name
        raise InputError(
            f"{printable(root)} cannot be read through ({error.strerror or type(error).__name__}): expected a folder "
            "of pictures that may be read; correct its permissions."
        ) from None


def read_folder(folder: ImageFolder, size: int) -> Splits:
    """Decode the images and bring them to the size of the dataset's, as one that is searched for.

    Args:
        folder: the files.
        size: height and width of the images in pixels.

    Returns:
        The dataset, in the order of the files.

    Raises:
        InputError: a file is no image or damaged, or all of them do not fit into memory.
    """
    refuse_oversize(printable(folder.root), len(folder.images) * size**2)
    arrays: dict[str, NDArray] = {}
    for split in SPLITS:
        files = folder.of(split)
        images = arrays[f"{split}_images"] = np.empty((len(files), size, size), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.array([file.label for file in files], dtype=np.int64)
        for place, file in enumerate(files):
            images[place] = to_model_size(read_image(file.path, name=_place(folder, file)), size)
    return Splits(**arrays)


def listing(folder: ImageFolder, labels: Mapping[int, str]) -> bytes:
    """Write where each image of the dataset came from, as CSV.

    Args:
        folder: the files.
        labels: the classes, from label to name.

    Returns:
        A row an image: its split, its place there, class, file, patient and digest.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("split", "index", "class", "file", "patient", "sha256"))
    private = sorted({image.patient for image in folder.images if image.patient and image.patient.startswith(_FOLDER)})
    numbers = {patient: f"folder {number}" for number, patient in enumerate(private, 1)}
    for split in SPLITS:
        for place, image in enumerate(folder.of(split)):
            patient = numbers.get(image.patient or "", image.patient)
            rows.writerow((split, place, labels[image.label], image.shown, patient, image.sha256))
    return text.getvalue().encode()


def describe_folder(audit: FolderAudit) -> str:
    """Say in Markdown how the images are divided.

    Args:
        audit: what was counted.

    Returns:
        A paragraph.
    """
    whole = "patient" if audit.patients == 1 else "patients"
    said = [
        f"The splits were made of the folder: a tenth each for validation and test, each class with its share, seed "
        f"{SEED}; images of one patient, and identical files, stay together."
        if audit.made
        else "The splits are those of the folder.",
        f"Names tell {audit.patients} {whole} apart; of {audit.unnamed} images nothing says of whom they are.",
    ]
    shared = [f"{count} in {splits}" for splits, count in audit.in_two_splits.items() if count]
    if shared:
        said.append(f"**Patients that lie in two splits: {', '.join(shared)}; results may flatter.**")
    return " ".join(said) + " `data_splits.csv` names split, class and patient of every image.\n"


def _place(folder: ImageFolder, file: FolderImage) -> str:
    """Say where a file lies, so that who has the folder finds it, and nobody else learns its name."""
    parent = file.path.parent
    if patient_of(file.path.name):
        return f"{printable(folder.root, 60)}: {printable(file.relative, 60)}"
    beside = [each.path for each in folder.images if each.path.parent == parent]
    top = Path(*Path(file.relative).parts[: 1 if folder.made else 2])
    number = beside.index(file.path) + 1
    return (
        f"{printable(folder.root, 60)}: {printable(top, 40)}, image {number} by name (SHA-256 {file.sha256[:_DIGITS]}…)"
    )


def _folder(root: Path, images: Sequence[FolderImage], *, made: bool) -> ImageFolder:
    names = sorted((os.fsencode(image.relative), image.sha256) for image in images)
    content = b"".join(name + b"\0" + digest.encode() + b"\n" for name, digest in names)
    ordered = sorted(images, key=lambda image: (image.label, image.relative))
    sha256, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()
    return ImageFolder(root, tuple(ordered), made, sha256, md5)


def _entries(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if not _is_passed_over(each.name))


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in _PASSED_OVER


def _images_of(root: Path, place: Path, split: Split, labels: Mapping[int, str], flag: str) -> list[FolderImage]:
    """Find the images of the classes below a folder."""
    known = {_letters(word): label for label, word in labels.items()}
    classes = printable(", ".join(labels.values())) + (" (or train, val and test)" if place == root else "")
    folders = [each for each in _entries(place) if each.is_dir()]
    images: list[FolderImage] = []
    for folder in folders:
        label = known.get(_letters(folder.name))
        if label is None:
            raise InputError(
                f"{printable(place, 60)} holds the folder {printable(folder.name, 40)}, which is no class of {flag}: "
                f"expected {classes}; rename or remove it, or choose another set with --dataset.name."
            )
        images += _images_in(root, folder, split, label)
    counts = Counter(image.label for image in images)
    if absent := [word for label, word in labels.items() if not counts[label]]:
        raise InputError(
            f"{printable(place, 60)} holds no image of the class {printable(absent[0], 40)}: expected a folder with "
            f"images for each of {classes}; add some, since a class without cases can be neither learned nor measured."
        )
    return images


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _images_in(root: Path, folder: Path, split: Split, label: int) -> list[FolderImage]:
    """Find the images of one class; those of a folder within it are taken for one patient's."""
    images = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if (path.is_dir() and not path.is_symlink()) or any(map(_is_passed_over, inner)):
            continue
        digest = _digest(path, f"{printable(folder, 60)}: a file")
        patient = patient_of(path.name) or (f"{_FOLDER}{inner[0]}" if len(inner) > 1 else None)
        images.append(FolderImage(path, path.relative_to(root).as_posix(), split, label, digest, patient))
    return images


def _digest(path: Path, name: str) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} in it is no regular file: expected images alone; remove it.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{name} in it cannot be read ({error.strerror}): expected images that may be read; correct its "
            "permissions, or remove it."
        ) from None


def _divide(root: Path, images: Sequence[FolderImage], labels: Mapping[int, str]) -> list[FolderImage]:
    groups = together([[image.sha256, *([("patient", image.patient)] if image.patient else [])] for image in images])
    targets = np.array([image.label for image in images], dtype=np.int64)
    for label, word in labels.items():
        count = len(np.unique(groups[targets == label]))
        if count < FOLDS:
            raise InputError(
                f"{printable(root, 60)} holds {count} patients of the class {printable(word, 40)} (an image of which "
                f"nothing says of whom it is counts as one): expected at least {FOLDS}, to make splits of them; add "
                "some, or make folders train, val and test yourself."
            )
    splits = divide(targets, groups)
    if len(set(zip(splits, targets.tolist(), strict=True))) < len(SPLITS) * len(labels):
        raise InputError(
            f"{printable(root, 60)} cannot be divided so that no patient lies in two splits and each split holds each "
            "class: add patients, or make folders train, val and test yourself."
        )
    return [replace(image, split=split) for image, split in zip(images, splits, strict=True)]
