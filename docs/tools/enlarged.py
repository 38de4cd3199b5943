"""Measure what enlarging and file formats change of the champion's probabilities, for `docs/cases.md`.

    python -m docs.tools.enlarged

Every image of the test split is written as picture files and read back as `flows.cases` reads them.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from flows.support import promotion
from models.classifier.prediction import predict
from tasks.cases import sources
from tasks.cases.judging import read_pictures
from tasks.cases.steps.judging import prepare_reference
from tasks.classification.classifier_file import load_classifier
from tasks.classification.steps.registration import read_package
from tasks.classification.steps.training import predict_classifier
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.data.steps import locate_source, prepare_dataset
from tasks.parameters.dataset import DatasetParameters
from tasks.shared.markdown import table
from tasks.storage.store import Store
from tasks.tracking import registry

SIDE = 512


def png(image: NDArray[np.uint8]) -> bytes:
    """Write a picture as PNG."""
    return _saved(image, "png")


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Write a picture as JPEG of quality 90."""
    return _saved(image, "jpeg", quality=90)


def dicom(image: NDArray[np.uint8], photometric: str) -> bytes:
    """Write a picture as an uncompressed DICOM file."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = image.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 8, 8, 7
    dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, photometric
    dataset.PixelData = (image if photometric == "MONOCHROME2" else 255 - image).tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


WAYS: dict[str, tuple[int, Callable[[NDArray[np.uint8]], bytes]]] = {
    "PNG of 28 × 28": (28, png),
    f"PNG of {SIDE} × {SIDE}": (SIDE, png),
    f"JPEG of {SIDE} × {SIDE}, quality 90": (SIDE, jpeg),
    f"DICOM of {SIDE} × {SIDE}, MONOCHROME2": (SIDE, lambda image: dicom(image, "MONOCHROME2")),
    f"DICOM of {SIDE} × {SIDE}, MONOCHROME1": (SIDE, lambda image: dicom(image, "MONOCHROME1")),
}


def compare() -> str:
    """Compare the probabilities of files with those of the evaluation.

    Returns:
        A Markdown table.
    """
    store, form = Store(), DatasetParameters()
    version, package = promotion.choose(registry.registered_name(form.name), registry.CHAMPION)
    data = prepare_dataset.fn(locate_source(form), None)
    classifier = read_package(package, data, version.run_id)
    predictions = predict_classifier.fn(data, classifier)
    reference = prepare_reference.fn(data, classifier, predictions)
    loaded = load_classifier(store.get(reference.classifier.weights))
    logits = store.get_arrays(predictions.outputs)["test_logits"]
    expected = calibrated_probabilities(logits, reference.temperature)
    images, rows = store.get_arrays(data.splits)["test_images"], []
    for name, (side, write) in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for place, image in enumerate(images):
                enlarged = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
                path = Path(folder, f"{place:04d}")
                path.write_bytes(write(enlarged))
                files.append(sources.identify(str(path)))
            pictures, problems = read_pictures(files, reference.size)
        found = np.stack([picture.image for picture in pictures])
        given = calibrated_probabilities(
            predict(loaded.model, found, loaded.normalization).logits, reference.temperature
        )
        changed = np.abs(given - expected)
        calls = (given >= reference.threshold) != (expected >= reference.threshold)
        levels = np.abs(found.astype(int) - images)
        rows.append(
            (name, len(problems), int(levels.max()), f"{changed.max():.2g}", f"{changed.mean():.2g}", int(calls.sum()))
        )
    header = (
        "file",
        "unreadable",
        "largest change of a grey level",
        "largest of a probability",
        "mean",
        "calls changed",
    )
    return table(header, rows)


def _saved(image: NDArray[np.uint8], kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.stdout.write(compare())
