import numpy as np
import pytest
import torch
from torch import nn

from models.choices import ARCHITECTURES, PROBE
from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization, to_tensor
from models.errors import InputError
from models.explanation.similarity_maps import (
    HIGHEST,
    LOWEST,
    OTHER_PAIR,
    RANDOM,
    highest_places,
    masking_drop,
    similarity_maps,
    split_cosine,
)

NORMALIZATION = Normalization([0.5], [0.25])
SIDES = {
    "ensemble28": 7,
    "ensemble28x8": 7,
    "compact28": 7,
    "resnet18_gray": 2,
    "efficientnet_b0": 2,
    "efficientnet_lite0": 4,
}


def random_images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def trained_a_little(architecture):
    model = build_classifier(architecture, seed=1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # statistics that fit, so that signals neither vanish nor explode
        model(to_tensor(random_images(8), NORMALIZATION))
    return model


def cosines(first, second):
    return [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != PROBE])
def test_the_maps_of_every_architecture_add_up_to_the_cosine(architecture):
    model = trained_a_little(architecture)
    queries, neighbours = random_images(5, seed=1), random_images(5, seed=2)
    maps = similarity_maps(model, queries, neighbours, NORMALIZATION, batch_size=2)
    expected = cosines(*(predict(model, images, NORMALIZATION).embeddings for images in (queries, neighbours)))
    assert maps.queries.shape == maps.neighbours.shape == (5, SIDES[architecture], SIDES[architecture])
    np.testing.assert_allclose(maps.cosines, expected, atol=1e-5)
    np.testing.assert_allclose(maps.queries.sum(axis=(1, 2)), expected, atol=1e-5)
    np.testing.assert_allclose(maps.neighbours.sum(axis=(1, 2)), expected, atol=1e-5)
    assert maps.queries.std(axis=(1, 2)).min() > 1e-4
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_place_contributes_its_pairs_with_all_places_of_the_other_image():
    model = trained_a_little("compact28").eval()
    query, neighbour = random_images(2)
    last_map = nn.Sequential(*list(model.backbone)[:-1])
    maps = []
    with torch.no_grad():
        for image in (query, neighbour):
            plain, mirrored = (last_map(to_tensor(each[None], NORMALIZATION))[0] for each in (image, image[:, ::-1]))
            maps.append(((plain + mirrored.flip(-1)) / 2).double().numpy())
    lengths = [np.linalg.norm(each.mean(axis=(1, 2))) for each in maps]
    expected = np.zeros((2, 7, 7))
    for here in np.ndindex(7, 7):
        for there in np.ndindex(7, 7):
            pair = maps[0][:, *here] @ maps[1][:, *there] / (49 * 49 * lengths[0] * lengths[1])
            expected[0][here] += pair
            expected[1][there] += pair
    found = similarity_maps(model, query[None], neighbour[None], NORMALIZATION)
    np.testing.assert_allclose(found.queries[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(found.neighbours[0], expected[1], atol=1e-6)


def test_the_agreement_is_where_both_images_show_the_same():
    queries, neighbours = np.zeros((2, 1, 2, 4, 4))
    queries[0, 0, 1, 2] = 3  # the first feature, which the other image shows elsewhere
    queries[0, 1, 3, 3] = 4  # the second, which it lacks
    neighbours[0, 0, 0, 1] = 5
    found = split_cosine(queries, neighbours)
    assert found.cosines == pytest.approx([3 / 5])
    assert found.queries[0, 1, 2] == pytest.approx(3 / 5)
    assert found.neighbours[0, 0, 1] == pytest.approx(3 / 5)
    assert np.count_nonzero(found.queries) == np.count_nonzero(found.neighbours) == 1


def test_an_embedding_that_is_no_average_is_refused():
    images = random_images(2)
    model = trained_a_little("compact28")
    model.backbone.pool.append(nn.Tanh())
    with pytest.raises(InputError, match="embedding of compact28 is not the average of its last feature map"):
        similarity_maps(model, images, images, NORMALIZATION)
    model.backbone.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match="embedding of compact28 is not the average of its last feature map"):
        similarity_maps(model, images, images, NORMALIZATION)


def test_images_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="are no pairs"):
        similarity_maps(trained_a_little("compact28"), random_images(2), random_images(3), NORMALIZATION)


def test_the_highest_places_are_marked():
    marks = highest_places(np.array([[[1.0, 5.0], [3.0, 4.0]], [[2.0, 2.0], [2.0, 9.0]]]), 2)
    np.testing.assert_array_equal(marks, [[[False, True], [False, True]], [[True, False], [False, True]]])


def test_masking_drops_are_those_of_a_loop_over_places():
    model = trained_a_little("compact28")
    queries, neighbours = random_images(3, seed=3), random_images(3, seed=4)
    normalization = Normalization([0.4], [0.25])
    drop = masking_drop(model, queries, neighbours, normalization, share=0.1, random_draws=2)
    assert drop.orders == (HIGHEST, OTHER_PAIR, RANDOM, LOWEST)
    maps = similarity_maps(model, queries, neighbours, normalization).neighbours
    embedded = predict(model, queries, normalization).embeddings
    whole = cosines(embedded, predict(model, neighbours, normalization).embeddings)
    for name, importance in {HIGHEST: maps, LOWEST: -maps, OTHER_PAIR: maps[[2, 0, 1]]}.items():
        masked = neighbours.copy()
        for image, scores in zip(masked, importance, strict=True):
            ranked = sorted(np.ndindex(7, 7), key=lambda place, scores=scores: -scores[place])
            for row, column in ranked[:5]:
                image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 102
        left = cosines(embedded, predict(model, masked, normalization).embeddings)
        found = drop.falls[drop.orders.index(name)]
        np.testing.assert_allclose(found, np.subtract(whole, left), atol=1e-5)
    assert len(np.unique(drop.falls.round(6))) == drop.falls.size


def test_masking_finds_the_only_place_that_counts():
    model = build_classifier("compact28").eval()
    # A network of one layer that sees bright pixels as one feature and dark ones as another.
    layer = nn.Conv2d(1, 2, kernel_size=4, stride=4, bias=True)
    layer.weight.data = torch.stack([torch.full((1, 4, 4), 1 / 16), torch.full((1, 4, 4), -1 / 16)])
    layer.bias.data = torch.tensor([0.0, 0.01])
    model.backbone = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.head = nn.Linear(2, 1)
    images = np.full((4, 28, 28), 128, np.uint8)
    for index, image in enumerate(images):
        image[8:12, 4 * index : 4 * index + 4] = 255  # each at a place of its own
    drop = masking_drop(model, images, images, Normalization([128 / 255], [0.25]), share=1 / 49, random_draws=4)
    highest, other, random, lowest = drop.falls.mean(axis=1)
    assert highest > 0.5
    assert max(abs(other), abs(random), abs(lowest)) < 0.15
