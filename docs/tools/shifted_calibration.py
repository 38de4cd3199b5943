"""What a calibration on corrupted validation does for the seeds of the protocol: for `docs/classification.md`.

    python -m docs.tools.shifted_calibration 10 11 12 13 14

The seeds are those that `docs.tools.seeds` left; their networks are taken from its last epochs, not trained again. Each
predicts every corruption of MedMNIST-C of validation images, as many of either class: `--evaluation.corrupted_images
262` of a run. They are kept in `seeds/corrupted-<seed>.npz` in the folder of the products. No label of test is fitted
to; the weights look at its images.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from docs.tools.seeds import _spread, _trained, file_of, outputs_of
from models.classifier.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from models.classifier.prediction import predict
from tasks.classification.classifier_file import load_classifier
from tasks.classification.explanation.report import spread_sample
from tasks.classification.trust.calibration import calibrated_probabilities, fit_temperature
from tasks.classification.trust.conformal_under_shift import ShiftedConformal, StandIn, conformal_under_shift
from tasks.classification.trust.robustness import Recalibration, recalibrations
from tasks.classification.trust.shift import split_outputs
from tasks.data.steps import locate_source, prepare_dataset
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.data import DatasetRecord
from tasks.shared.markdown import table
from tasks.storage.store import Store

IMAGES = 262


def corrupted_validation(data: DatasetRecord, seed: int) -> dict[str, NDArray[Any]]:
    """Predict the corrupted validation images of a seed, or read what was predicted.

    Args:
        data: the dataset.
        seed: one that was scored.

    Returns:
        `logits`, shape (kinds, severities, images), and `images`, their positions in the split.
    """
    kept = file_of(seed).with_name(f"corrupted-{seed}.npz")
    if not kept.exists():
        store = Store()
        classifier = _trained(data, TrainingParameters(**json.loads(file_of(seed).read_bytes())["training"]))
        model, normalization, _ = load_classifier(store.get(classifier.weights))
        arrays = store.get_arrays(data.splits)
        chosen = np.sort(spread_sample(arrays["val_labels"], IMAGES))
        images = arrays["val_images"][chosen]
        logits = [
            [predict(model, corrupt(images, kind, severity), normalization).logits for severity in SEVERITIES]
            for kind in CORRUPTIONS
        ]
        np.savez(kept, logits=np.array(logits), images=chosen)
    with np.load(kept) as found:
        return dict(found)


def calibrate(
    arrays: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, NDArray[Any]],
    corrupted: Mapping[str, NDArray[Any]],
    class_names: Sequence[str],
) -> tuple[tuple[ShiftedConformal, ...], tuple[Recalibration, ...]]:
    """Make sets and probabilities of test by each calibration.

    Args:
        arrays: images and labels of the splits.
        outputs: of the network, as in `PredictionsRecord`.
        corrupted: of `corrupted_validation`.
        class_names: by label.

    Returns:
        The sets, and the probabilities.
    """
    labels, logits = outputs["val_labels"][corrupted["images"]], corrupted["logits"]
    temperature = fit_temperature(outputs["val_logits"], outputs["val_labels"])
    validation, test = (split_outputs(split, arrays, outputs, temperature, 0.5) for split in ("val", "test"))
    repeated = np.tile(labels, logits[..., 0].size)
    stand_in = StandIn(calibrated_probabilities(logits.ravel(), temperature), repeated)
    return (
        conformal_under_shift(validation, test, stand_in, class_names),
        recalibrations(temperature, logits, labels, outputs["test_logits"], outputs["test_labels"]),
    )


def summarise(
    found: Sequence[tuple[tuple[ShiftedConformal, ...], tuple[Recalibration, ...]]], class_names: Sequence[str]
) -> str:
    """Put several seeds in two tables.

    Args:
        found: of `calibrate`, one for each seed.
        class_names: by label.

    Returns:
        Markdown: coverage on test by level and class with the size of the sets, then ECE and Brier score; mean ±
        standard deviation, and each.
    """
    rows: list[tuple[object, ...]] = []
    for level in found[0][0][0].mean_size:
        for place, way in enumerate(found[0][0]):
            each = [sets[place] for sets, _ in found]
            covered = [
                [row.coverage.value for one in each for row in one.coverage if (row.level, row.name) == (level, name)]
                for name in class_names
            ]
            sizes = [one.mean_size[level] for one in each]
            cells = [f"{mean} ({values})" for mean, values in map(_spread, covered)]
            rows.append((f"{level:.0%}", way.calibrated_on, *cells, _spread(sizes)[0]))
    parts = [table(["level", "calibrated on", *class_names, "mean size"], rows)]
    rows = []
    for place, way in enumerate(found[0][1]):
        errors = [probabilities[place] for _, probabilities in found]
        rows.append((way.name, *_spread([each.ece for each in errors]), _spread([each.brier for each in errors])[0]))
    parts.append(table(["probabilities calibrated by", "test ECE", "each", "test Brier score"], rows))
    return "\n".join(parts)


def main(seeds: Sequence[int]) -> str:
    """Calibrate some seeds that were scored, and make the tables."""
    data = prepare_dataset.fn(locate_source(DatasetParameters()), None)
    arrays = Store().get_arrays(data.splits)
    found = [calibrate(arrays, outputs_of(seed), corrupted_validation(data, seed), data.labels) for seed in seeds]
    return summarise(found, data.labels)


if __name__ == "__main__":
    sys.stdout.write(main([int(word) for word in sys.argv[1:]]))
