import numpy as np
import torch
from torch import nn

from models.classifiers import build_classifier
from models.grad_cam import grad_cam, layer_maps
from models.preprocessing import Normalization, to_tensor

NORMALIZATION = Normalization(0.5, 0.25)


def random_images(count=5):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)


class BrightIsPneumonia(nn.Module):
    """Two channels, bright and dark pixels; the logit is the mean of the first minus that of the second."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 2, kernel_size=1, bias=False)
        self.features.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)

    def forward(self, images):
        bright, dark = torch.relu(self.features(images)).mean(dim=(2, 3)).T
        return bright - dark


def test_the_map_is_where_the_evidence_is():
    images = np.full((2, 16, 16), 128, np.uint8)
    images[0, 2:5, 10:14] = 255
    images[1, 8:12, 1:6] = 250
    normalization = Normalization(128 / 255, 1.0)
    network = BrightIsPneumonia()
    maps = layer_maps(network, network.features, to_tensor(images, normalization), 2)
    for index in range(2):
        np.testing.assert_allclose(maps[index], images[index] > 128, atol=1e-3)


def test_batches_give_the_maps_of_single_images_in_range_and_shape():
    model = build_classifier("resnet18_gray", seed=1)
    images = random_images()
    maps = grad_cam(model, images, NORMALIZATION, batch_size=2)
    assert maps.shape == images.shape
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert maps.std(axis=(1, 2)).min() > 0.01, "a flat map explains nothing"
    for index in range(len(images)):
        single = grad_cam(model, images[index : index + 1], NORMALIZATION)
        np.testing.assert_allclose(maps[index], single[0], atol=1e-3)


def test_other_weights_give_other_maps_and_the_model_is_left_alone():
    first, second = build_classifier("resnet18_gray", seed=1), build_classifier("resnet18_gray", seed=2)
    images = random_images(2)
    assert np.abs(grad_cam(first, images, NORMALIZATION) - grad_cam(second, images, NORMALIZATION)).max() > 0.1
    assert first.training
    assert all(parameter.grad is None for parameter in first.parameters())
    assert not any(module._forward_hooks for module in first.modules())
