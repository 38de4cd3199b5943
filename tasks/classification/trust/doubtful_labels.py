"""The labels in doubt as files that a person corrects: a table, and tasks of Label Studio.

Source: https://labelstud.io/guide/tasks and https://labelstud.io/guide/predictions
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.classification.trust.label_audit import LabelIssue
from tasks.shared.png import picture_url

TABLE, TASKS = "doubtful_labels.csv", "doubtful_labels.json"
"""Names of the files in the run of a training."""
SHOWN_WIDTH = 448  # pixels of a picture for a person, at least
HOW_TO_CORRECT = (
    f"`{TABLE}` among the files of the run lists them all: an expert fills in its column `corrected`, and "
    f"`--dataset.corrections` trains with it. `{TASKS}` is the same for Label Studio.\n"
)


def doubtful_table(issues: Sequence[LabelIssue], class_names: Sequence[str]) -> bytes:
    """List the labels in doubt.

    Args:
        issues: the worst first.
        class_names: by label.

    Returns:
        CSV: index in the training split, split, given and suggested label, out-of-fold probability of the given one,
        and an empty column for the corrected label.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("index", "split", "given", "suggested", "probability", "corrected"))
    for issue in issues:
        given, suggested = class_names[issue.given], class_names[issue.suggested]
        writer.writerow((issue.index, "train", given, suggested, f"{issue.quality:.4f}", ""))
    return file.getvalue().encode()


def label_studio_tasks(
    issues: Sequence[LabelIssue], images: NDArray[np.uint8], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Make tasks of Label Studio, whose answers come back as a CSV that `--dataset.corrections` takes.

    Args:
        issues: the worst first.
        images: of the training split, shape (images, height, width) or (images, height, width, 3), 0–255.
        class_names: by label.

    Returns:
        One task an image, with the picture in it and the suggested label.
    """
    return [
        {
            "data": {
                "image": picture_url(images[issue.index], SHOWN_WIDTH),
                "index": issue.index,
                "split": "train",
                "given": class_names[issue.given],
            },
            "predictions": [
                {
                    "model_version": "label audit",
                    "score": 1 - issue.quality,
                    "result": [
                        {
                            "from_name": "corrected",
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": [class_names[issue.suggested]]},
                        }
                    ],
                }
            ],
        }
        for issue in issues
    ]
