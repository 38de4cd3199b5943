"""The served graph against `predict`, before and after it was exported."""

import numpy as np
import pytest
import torch

from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization, to_tensor
from models.classifier.serving import ServedClassifier
from tasks.classification.trust.calibration import calibrated_probabilities

ARCHITECTURES = ["resnet18_gray", "efficientnet_b0", "compact28"]


def _images(count, channels, seed=0):
    shape = (count, 28, 28) if channels == 1 else (count, 28, 28, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _served(architecture, classes, channels, temperature=1.7):
    model = build_classifier(architecture, classes=classes, channels=channels, seed=1)
    model.head.weight.data *= 20  # random heads are near zero, and all probabilities would be alike
    images = _images(32, channels, seed=9)
    normalization = Normalization.from_images(images)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics of these images at once, else deep signals would fade
    model.train()
    with torch.no_grad():  # running statistics of their own, so that training mode would be seen
        model.embed(to_tensor(images, normalization))
    return ServedClassifier(model, normalization, temperature), model, normalization


def _expected(model, images, normalization, temperature=1.7):
    probabilities = calibrated_probabilities(predict(model, images, normalization).logits, temperature)
    return np.stack([1 - probabilities, probabilities], axis=1) if probabilities.ndim == 1 else probabilities


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (5, 3)])
def test_it_answers_as_predict_does(architecture, classes, channels):
    served, model, normalization = _served(architecture, classes, channels)
    images = _images(6, channels)
    with torch.no_grad():
        found = served(torch.from_numpy(images))
    assert found.dtype == torch.float32
    assert found.shape == (6, classes)
    assert found.std() > 1e-3
    np.testing.assert_allclose(found.numpy(), _expected(model, images, normalization), atol=1e-5)


@pytest.mark.parametrize(("architecture", "classes", "channels"), [("compact28", 2, 1), ("resnet18_gray", 3, 3)])
def test_the_exported_graph_takes_any_number_of_images(architecture, classes, channels):
    served, model, normalization = _served(architecture, classes, channels)
    example = torch.from_numpy(_images(2, channels)).float()
    program = torch.export.export(served, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    for count in (1, 2, 7):
        images = _images(count, channels, seed=count)
        with torch.no_grad():
            found = program.module()(torch.from_numpy(images).float()).numpy()
        np.testing.assert_allclose(found, _expected(model, images, normalization), atol=1e-5)


def test_extreme_log_odds_keep_the_small_probability():
    served, model, _ = _served("compact28", 2, 1)
    model.head.weight.data.zero_()
    model.head.bias.data.fill_(60.0)
    with torch.no_grad():
        normal, pneumonia = served(torch.from_numpy(_images(1, 1)))[0].tolist()
    assert pneumonia == 1.0
    assert normal == pytest.approx(np.exp(-60 / 1.7), rel=1e-4)  # 1 - p would be 0


def test_pixels_that_are_no_levels_get_no_answer_and_do_not_harm_others():
    served, _, _ = _served("compact28", 3, 1)
    images = torch.from_numpy(_images(5, 1)).float()
    with torch.no_grad():
        expected = served(images)
        images[0] /= 255
        images[1, 3, 4] = 256
        images[2, 3, 4] = -1
        images[3, 3, 4] = torch.nan
        found = served(images)
    assert found[:4].isnan().all()
    torch.testing.assert_close(found[4], expected[4])
