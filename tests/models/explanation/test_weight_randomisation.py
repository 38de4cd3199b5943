import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from models.classifier.classifiers import build_classifier
from models.classifier.preprocessing import Normalization, to_tensor
from models.explanation.weight_randomisation import edge_maps, parts, randomise_weights, rank_correlation

NORMALIZATION = Normalization([0.5], [0.25])
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)


def trained(seed=1):
    """A network whose every weight differs from what any seed draws."""
    model = build_classifier("compact28", seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.5 + 0.1 * torch.rand(tensor.shape, generator=generator)
    return model


@pytest.mark.parametrize("architecture", ["resnet18_gray", "efficientnet_b0", "compact28"])
def test_the_parts_hold_every_weight_once_from_the_head_to_the_first_layer(architecture):
    model = build_classifier(architecture)
    groups = parts(model)
    held = [
        id(weight) for names in groups.values() for name in names for weight in model.get_submodule(name).parameters()
    ]
    assert sorted(held) == sorted(map(id, model.parameters()))
    assert next(iter(groups)) == "head"
    first_weight = next(model.backbone.parameters())
    assert first_weight in set(model.get_submodule(list(groups.values())[-1][0]).parameters())
    assert len(groups) >= 5
    for names in groups.values():
        assert not isinstance(model.get_submodule(names[0]), nn.BatchNorm2d), "it means nothing without its convolution"


def test_the_stages_replace_the_parts_one_after_the_other():
    model = trained()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seen = []

    def look(network):
        state = network.state_dict()
        seen.append({name: tensor.clone() for name, tensor in state.items()})
        return np.zeros(IMAGES.shape)

    groups = parts(model)
    randomise_weights(model, IMAGES, NORMALIZATION, {"look": look}, draws=2)
    assert len(seen) == 1 + 2 * len(groups)
    for draw in range(2):
        replaced = []
        for stage, names in enumerate(groups.values()):
            replaced += names
            state = seen[1 + draw * len(groups) + stage]
            for name, _ in model.named_parameters():
                is_replaced = any(name.startswith(f"{part}.") for part in replaced)
                assert torch.equal(state[name], before[name]) != is_replaced, (stage, name)
    assert not torch.equal(seen[-1]["head.weight"], seen[len(groups)]["head.weight"]), (
        "each draw has weights of its own"
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_batch_normalisation_of_untrained_parts_fits_the_images():
    model, outputs = trained(), []

    def look(network):
        assert not any(module.training for module in network.modules())
        with torch.no_grad():
            embeddings = network.embed(to_tensor(IMAGES, NORMALIZATION))
            network.train()
            outputs.append((embeddings, network.embed(to_tensor(IMAGES, NORMALIZATION))))
            network.eval()
        return np.zeros(IMAGES.shape)

    randomise_weights(model, IMAGES, NORMALIZATION, {"look": look}, draws=1)
    own_statistics, batch_statistics = outputs[-1]
    torch.testing.assert_close(own_statistics, batch_statistics, rtol=0.05, atol=0.02)
    assert own_statistics.std() > 0.05


def test_maps_that_ignore_the_model_stay_alike_and_maps_that_follow_its_weights_do_not():
    edges = edge_maps(IMAGES)

    def hashed(network):
        seed = int(network.head.weight.double().sum().abs() * 1e9)
        return np.random.default_rng(seed).random(IMAGES.shape)

    explainers = {"edges": lambda network: edges, "hashed": hashed, "flat": lambda network: 0 * edges}
    result = randomise_weights(trained(), IMAGES, NORMALIZATION, explainers, draws=3, shown=2)
    assert result.methods == ("edges", "hashed", "flat")
    assert result.rank_correlations.shape == (3, len(result.stages), 3, len(IMAGES))
    np.testing.assert_allclose(result.rank_correlations[0], 1)
    np.testing.assert_allclose(result.structural_similarities[0], 1)
    assert np.abs(result.rank_correlations[1].mean(axis=-1)).max() < 0.05
    assert np.abs(result.structural_similarities[1].mean(axis=-1)).max() < 0.1
    np.testing.assert_array_equal(result.rank_correlations[2], 0)
    assert not result.flat[:2].any()
    assert result.flat[2].all()
    assert np.abs(result.unrelated[:2]).max() < 0.2, "noise has nothing in common"
    assert result.examples.shape == (3, len(result.stages) + 1, 2, 28, 28)
    np.testing.assert_array_equal(result.examples[0], np.broadcast_to(edges[:2], result.examples[0].shape))


def test_the_check_repeats():
    def head_map(network):
        return to_tensor(IMAGES, NORMALIZATION)[:, 0].numpy() * network.head.weight.detach().numpy()[0, :28]

    first, second = (randomise_weights(trained(), IMAGES, NORMALIZATION, {"head": head_map}, draws=2) for _ in range(2))
    np.testing.assert_array_equal(first.rank_correlations, second.rank_correlations)
    assert not np.array_equal(first.rank_correlations[0, 0, 0], first.rank_correlations[0, 0, 1])


def test_rank_correlation_is_spearmans():
    random = np.random.default_rng(2)
    first = random.integers(0, 5, (6, 9, 9)).astype(float)  # many ties
    second = first + random.integers(0, 4, first.shape)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), expected)
    second[3] = 7
    assert rank_correlation(first, second)[3] == 0


def test_edges_are_where_the_grey_level_changes():
    images = np.zeros((2, 8, 8), np.uint8)
    images[0, :, 4:] = 200
    expected = np.zeros((8, 8))
    expected[:, 3:5] = 1
    np.testing.assert_allclose(edge_maps(images), [expected, np.zeros((8, 8))])
    colour = np.stack([images, images, images], axis=-1)
    np.testing.assert_allclose(edge_maps(colour), edge_maps(images))
