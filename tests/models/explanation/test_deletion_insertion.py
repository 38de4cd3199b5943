import numpy as np
import pytest
import torch
from torch import nn

from models.classifier.classifiers import build_classifier
from models.classifier.preprocessing import Normalization, to_tensor
from models.explanation.deletion_insertion import area, importance_order, random_maps, remove_pixels

RANDOM = np.random.default_rng(0)


class BrightPatch(nn.Module):
    """Calls class 1 where the upper left corner is bright; nothing else counts."""

    mirrored, largest_batch = True, 512

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def embed(self, images):
        return images[:, 0, :4, :4].mean(dim=(1, 2))[:, None]

    def classify(self, embeddings):
        return self.scale * embeddings[:, 0]


def naive_probability(model, image, normalization, target):
    with torch.no_grad():
        logits = model.eval()(to_tensor(image[None], normalization))[0]
    probabilities = torch.stack([-logits, logits]).sigmoid() if model.classes == 2 else logits.softmax(dim=0)
    return probabilities[target].item()


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (4, 3)])
def test_curves_are_those_of_a_loop_over_images_and_pixels(classes, channels):
    model = build_classifier("compact28", classes=classes, channels=channels, seed=1)
    with torch.no_grad():
        model.head.weight *= 10
    images = RANDOM.integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    normalization = Normalization([0.2, 0.4, 0.6][:channels], [0.25] * channels)
    blank = np.array([51, 102, 153], np.uint8)
    if channels == 1:
        images, blank = images[..., 0], blank[0]
    scores = RANDOM.permuted(np.arange(3 * 784).reshape(3, 784), axis=1).reshape(3, 28, 28)  # no ties
    targets = np.array([0, 1, classes - 1])
    result = remove_pixels(model, images, normalization, {"map": scores}, targets, steps=4, random_draws=2)
    assert result.orders == ("map", "random pixels", "random patches")
    assert result.deletion.shape == result.insertion.shape == (3, 3, 5)
    for index in range(3):
        gone, come = images[index].copy(), np.full_like(images[index], blank)
        expected = [[], []]
        sequence = sorted(np.ndindex(28, 28), key=lambda place, index=index: -scores[index][place])
        for count in range(785):
            if count % 196 == 0:
                for kind, image in enumerate((gone, come)):
                    expected[kind].append(naive_probability(model, image, normalization, targets[index]))
            if count < 784:
                gone[sequence[count]] = blank
                come[sequence[count]] = images[index][sequence[count]]
        np.testing.assert_allclose(result.deletion[0, index], expected[0], atol=1e-5)
        np.testing.assert_allclose(result.insertion[0, index], expected[1], atol=1e-5)
    np.testing.assert_array_equal(result.deletion[:, :, 0], result.insertion[:, :, -1])
    assert np.ptp(result.deletion) > 0.01


def test_the_true_map_beats_every_other_order():
    images = RANDOM.integers(120, 136, (20, 28, 28), dtype=np.uint8)
    images[:, :4, :4] = 230
    truth = np.zeros(images.shape)
    truth[:, :4, :4] = 1
    scores = {"true": truth, "opposite": -truth, "flat": np.zeros(images.shape)}
    result = remove_pixels(
        BrightPatch(), images, Normalization([0.5], [0.25]), scores, np.ones(20, np.int64), steps=14, random_draws=3
    )
    true, opposite, flat, pixels, patches = area(result.deletion).mean(axis=1)
    assert true < 0.56 < 0.65 < min(pixels, patches) < max(pixels, patches) < 0.95 < opposite
    assert abs(flat - pixels) < 0.02, "a flat map orders nothing"
    true, opposite, flat, pixels, patches = area(result.insertion).mean(axis=1)
    assert opposite < 0.56 < 0.65 < min(pixels, patches) < max(pixels, patches) < 0.95 < true
    assert abs(flat - pixels) < 0.02


def test_of_two_classes_the_probabilities_are_complementary():
    images = RANDOM.integers(0, 256, (4, 28, 28), dtype=np.uint8)
    first, second = (
        remove_pixels(BrightPatch(), images, Normalization([0.5], [0.25]), {"map": images}, np.full(4, target), steps=3)
        for target in (0, 1)
    )
    np.testing.assert_allclose(first.deletion + second.deletion, 1)
    assert np.ptp(first.deletion) > 0.01


def test_the_most_important_pixel_comes_first_and_ties_come_at_random():
    scores = np.array([[[1.0, 5.0], [3.0, 4.0]]])
    np.testing.assert_array_equal(importance_order(scores, np.random.default_rng(0)), [[[3, 0], [2, 1]]])
    ties = np.zeros((400, 3, 3))
    ties[:, 1, 1] = 1
    order = importance_order(ties, np.random.default_rng(0))
    assert (order[:, 1, 1] == 0).all()
    np.testing.assert_array_equal(np.sort(order.reshape(400, 9)), np.broadcast_to(np.arange(9), (400, 9)))
    others = np.delete(order.reshape(400, 9), 4, axis=1).mean(axis=0)
    np.testing.assert_allclose(others, 4.5, atol=0.5)  # eight standard errors of the draw are 0.9


def test_random_maps_are_as_coarse_as_asked_and_differ():
    coarse = random_maps((300, 28, 28), (7, 7), np.random.default_rng(0))
    fine = random_maps((300, 28, 28), (28, 28), np.random.default_rng(0))
    assert coarse.min() >= 0
    assert coarse.max() <= 1
    neighbours = [np.corrcoef(maps[:, 13, 13], maps[:, 13, 14])[0, 1] for maps in (coarse, fine)]
    assert neighbours[0] > 0.8 > 0.2 > abs(neighbours[1])
    # The whole of an image is equally likely to come first.
    first = np.array([np.unravel_index(image.argmax(), (28, 28)) for image in coarse])
    np.testing.assert_allclose(first.mean(axis=0), 13.5, atol=2)


def test_area_is_that_of_the_trapezia():
    np.testing.assert_allclose(area(np.array([[1.0, 0.5, 0.0], [1.0, 0.0, 0.0], [0.3, 0.3, 0.3]])), [0.5, 0.25, 0.3])
