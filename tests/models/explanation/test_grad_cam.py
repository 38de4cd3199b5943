import cv2
import numpy as np
import pytest
import torch
from torch import nn

from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization, to_tensor
from models.errors import InputError
from models.explanation.grad_cam import grad_cam, layer_maps

NORMALIZATION = Normalization([0.5], [0.25])


def random_images(count=5):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)


class BrightAgainstDark(nn.Module):
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
    images[:, 14, :] = 0  # evidence against
    normalization = Normalization([128 / 255], [1.0])
    network = BrightAgainstDark()
    pixels = to_tensor(images, normalization)
    np.testing.assert_allclose(
        layer_maps(network, network.features, pixels, [torch.positive] * 2, 2), images > 128, atol=1e-3
    )
    np.testing.assert_allclose(
        layer_maps(network, network.features, pixels, [torch.neg] * 2, 2), images < 128, atol=1e-3
    )


@pytest.mark.parametrize("architecture", ["resnet18_gray", "efficientnet_b0", "compact28"])
def test_batches_give_the_maps_of_single_images_in_range_and_shape(architecture):
    model = build_classifier(architecture, seed=1)
    images = random_images()
    with torch.no_grad():  # statistics that fit, so that signals neither vanish nor explode
        model(to_tensor(images, NORMALIZATION))
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
    assert all(parameter.grad is None and parameter.requires_grad for parameter in first.parameters())
    assert not any(module._forward_hooks for module in first.modules())


def naive_map(model, image, normalization, target):
    """HiResCAM of one image: the clipped sum over the channels of activation × gradient, stretched to [0, 1]."""
    kept = {}
    layer = model.grad_cam_layer
    hook = layer.register_forward_hook(lambda module, inputs, output: kept.update(activation=output))
    logits = model.eval()(to_tensor(image[None], normalization))[0]
    hook.remove()
    chosen = (logits if target else -logits) if model.classes == 2 else logits[target]
    (gradient,) = torch.autograd.grad(chosen, kept["activation"])
    product = (kept["activation"] * gradient).sum(dim=1)[0].clamp(min=0)
    coarse = (product - product.min()).detach().numpy()
    fine = cv2.resize(coarse, image.shape[:2])
    fine -= fine.min()
    return fine / fine.max() if fine.any() else fine


@pytest.mark.parametrize("classes", [2, 4])
def test_each_class_has_the_map_of_its_own_gradient(classes):
    model = build_classifier("compact28", classes=classes, seed=3)
    images = random_images(3)
    for target in range(classes):
        maps = grad_cam(model, images, NORMALIZATION, target=target)
        for image, drawn in zip(images, maps, strict=True):
            np.testing.assert_allclose(drawn, naive_map(model, image, NORMALIZATION, target), atol=1e-3)


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (3, 3)])
def test_without_a_target_the_likeliest_class_is_explained(classes, channels):
    model = build_classifier("compact28", classes=classes, channels=channels, seed=4)
    images = random_images(6)
    if channels == 3:
        images = np.stack([images, images[::-1], 255 - images], axis=-1)
    normalization = Normalization([0.5] * channels, [0.25] * channels)
    logits = predict(model, images, normalization, flip=False).logits
    # Shift the head so that more than one class is called.
    with torch.no_grad():
        model.head.bias -= torch.from_numpy(np.atleast_1d(np.median(logits, axis=0)))
    logits = predict(model, images, normalization, flip=False).logits
    called = (logits > 0).astype(int) if classes == 2 else logits.argmax(axis=1)
    assert len(set(called)) > 1
    maps = grad_cam(model, images, normalization)
    np.testing.assert_array_equal(maps, grad_cam(model, images, normalization, target=called))
    for index, target in enumerate(called):
        single = grad_cam(model, images[index : index + 1], normalization, target=int(target))[0]
        np.testing.assert_allclose(maps[index], single, atol=1e-3)


@pytest.mark.parametrize("target", [-1, 2])
def test_a_class_that_the_model_does_not_know_is_refused(target):
    with pytest.raises(InputError, match=f"Class {target} was to be explained, but the model knows 2"):
        grad_cam(build_classifier("compact28"), random_images(1), NORMALIZATION, target=target)
