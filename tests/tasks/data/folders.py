"""Folders of pictures, written from arrays."""

from pathlib import Path

import numpy as np
from PIL import Image

from tasks.data.phantoms import draw_phantoms
from tasks.data.validation import SPLITS, Splits
from tests.tasks.data.pictures.dicom_files import dicom

CLASSES = ("NORMAL", "PNEUMONIA")


def by_class(splits: Splits) -> Splits:
    """Put the images of each split in the order of their classes, as a folder of running numbers has them."""
    arrays = {}
    for split in SPLITS:
        order = np.argsort(splits.labels(split), kind="stable")
        arrays |= {f"{split}_images": splits.images(split)[order], f"{split}_labels": splits.labels(split)[order]}
    return Splits(**arrays)


def few_phantoms(counts: dict[str, int]) -> Splits:
    """Drawn images, some of each class, by class."""
    whole, arrays = by_class(draw_phantoms(28, 0)), {}
    for split, count in counts.items():
        places = np.linspace(0, len(whole.labels(split)) - 1, count).astype(int)
        arrays |= {f"{split}_images": whole.images(split)[places], f"{split}_labels": whole.labels(split)[places]}
    return Splits(**arrays)


def write_png(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path.with_suffix(".png"))


def write_dicom(image: np.ndarray, path: Path) -> None:
    """As film is stored: the smallest value is white."""
    stored = dicom(255 - image, "MONOCHROME1", PatientName="Doe^Jane", PatientID="4711")
    stored.save_as(path.with_suffix(".dcm"), enforce_file_format=True)


def write_folder(splits: Splits, folder: Path, write=write_png) -> Path:
    """Write the splits as `SPLIT/CLASS/NUMBER`, numbers in the order of the arrays."""
    for split in SPLITS:
        for place, (image, label) in enumerate(zip(splits.images(split), splits.labels(split), strict=True)):
            parent = folder / split / CLASSES[label]
            parent.mkdir(parents=True, exist_ok=True)
            write(image, parent / f"{place:05}")
    return folder


def write_classes(names: dict[str, list[str]], folder: Path) -> Path:
    """Write `CLASS/NAME` with images that all differ, without splits."""
    number = 0
    for word, files in names.items():
        for name in files:
            number += 1
            path = folder / word / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4), 0, np.uint8) + np.uint8([[number % 256, number // 256, 0, 0]])).save(path)
    return folder
