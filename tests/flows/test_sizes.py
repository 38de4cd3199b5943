"""Another image size, as one's own file: real images, enlarged."""

import numpy as np
import pytest
from mlflow import MlflowClient

from flows.classification import classification
from flows.support.shell import parse
from models.classifier.weights import load
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tests.flows.small import CLASSIFICATION, LIMIT

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


def test_images_of_64_pixels_are_trained_scored_and_explained(official_file, tmp_path):
    with np.load(official_file) as arrays:
        enlarged = {
            name: np.pad(array[:LIMIT].repeat(2, 1).repeat(2, 2), ((0, 0), (4, 4), (4, 4)))
            if "images" in name
            else array[:LIMIT]
            for name, array in arrays.items()
        }
    np.savez(tmp_path / "mine.npz", **enlarged)
    words = [*CLASSIFICATION, "--training.epochs", "3", "--dataset.size", "64", "--dataset.path"]
    words.append(str(tmp_path / "mine.npz"))
    result = classification(**parse(classification, words))
    assert result.dataset.kind == "own file"
    assert result.explanation.shapes["maps"] == (LIMIT, 64, 64)
    _, card = load(Store().get(result.classifier.weights))
    assert card["image_size"] == 64
    run = MlflowClient(tracking_uri()).get_run(result.run.run_id)
    assert run.data.params["dataset.size"] == "64"
    assert run.inputs.dataset_inputs[0].dataset.digest == result.dataset.digest
    assert run.data.metrics["test/auc"] > 0.6
