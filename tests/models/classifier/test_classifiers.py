import pytest
import safetensors.torch
import torch
from torch import nn

from models.choices import ARCHITECTURES, PROBE
from models.classifier.classifiers import build_classifier
from models.errors import InputError

every_architecture = pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != PROBE])


def pixels(count=2, channels=1, size=28):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))


@every_architecture
@pytest.mark.parametrize(("classes", "channels", "shape"), [(2, 1, (2,)), (2, 3, (2,)), (9, 3, (2, 9)), (3, 1, (2, 3))])
def test_one_logit_for_two_classes_and_otherwise_one_a_class(architecture, classes, channels, shape):
    model = build_classifier(architecture, classes=classes, channels=channels).eval()
    assert (model.architecture, model.classes, model.channels) == (architecture, classes, channels)
    images = pixels(channels=channels)
    embeddings = model.embed(images)
    assert embeddings.shape == (2, model.embedding_size)
    assert model(images).shape == shape
    assert model(pixels(1, channels, size=64)).shape == (1, *shape[1:])
    by_hand = torch.stack(
        [embeddings @ weight + bias for weight, bias in zip(*model.head.parameters(), strict=True)], 1
    )
    torch.testing.assert_close(model(images), by_hand.reshape(shape))


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("resnet18_gray", 512),
        ("efficientnet_b0", 1280),
        ("efficientnet_lite0", 1280),
        ("compact28", 512),
        ("ensemble28", 512),
        ("ensemble28x8", 512),
    ],
)
def test_the_size_of_the_embedding(architecture, size):
    assert build_classifier(architecture).embedding_size == size


@every_architecture
@pytest.mark.parametrize("classes", [2, 5])
def test_the_mean_of_the_branches_is_what_the_network_says(architecture, classes):
    model = build_classifier(architecture, classes=classes, seed=3).eval()
    logits = model.branch_logits(pixels())
    assert len(logits) == model.branches
    torch.testing.assert_close(logits.mean(dim=0), model(pixels()))


def test_a_branch_is_its_part_of_the_features_with_its_part_of_the_head():
    model = build_classifier("ensemble28", seed=3).eval()
    share = model.embedding_size // model.branches
    features = model.embed(pixels())
    for branch, logits in enumerate(model.branch_logits(pixels())):
        part = slice(branch * share, (branch + 1) * share)
        by_hand = model.branches * features[:, part] @ model.head.weight[0, part] + model.head.bias
        torch.testing.assert_close(logits, by_hand)


@every_architecture
def test_the_seed_decides_the_weights_and_the_global_generator_does_not_move(architecture):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = build_classifier(architecture, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    again, other = build_classifier(architecture, seed=1), build_classifier(architecture, seed=2)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    for name, tensor in first.named_parameters():
        if tensor.ndim > 1:
            assert not torch.equal(tensor, other.get_parameter(name)), name


def test_the_weights_follow_he_from_the_first_layer_on():
    draws = torch.randn(64, 1, 3, 3, generator=torch.Generator().manual_seed(7))
    stem = build_classifier("resnet18_gray", seed=7).backbone.conv1.weight
    torch.testing.assert_close(stem.detach(), draws * (2 / (64 * 3 * 3)) ** 0.5)


@every_architecture
def test_training_draws_nothing_from_the_global_generator(architecture):
    model = build_classifier(architecture).train()
    state = torch.random.get_rng_state()
    model(pixels())
    assert torch.equal(torch.random.get_rng_state(), state)


@every_architecture
def test_the_layer_for_grad_cam_has_a_map_at_28_pixels(architecture):
    model = build_classifier(architecture).eval()
    shapes = []
    model.grad_cam_layer.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    model(pixels())
    assert len(shapes) == 1
    assert min(shapes[0][-2:]) >= 4


def test_pretrained_weights_reach_all_but_the_head(tmp_path):
    trained = build_classifier("compact28", seed=1)
    nn.init.ones_(trained.head.weight)
    file = tmp_path / "trained.safetensors"
    safetensors.torch.save_file(trained.state_dict(), file)
    model = build_classifier("compact28", classes=5, seed=2, pretrained=file)
    for name, tensor in trained.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[name]), name
    assert torch.equal(model.head.weight, build_classifier("compact28", classes=5, seed=2).head.weight)


def test_an_unknown_architecture_is_named_with_the_known_ones():
    with pytest.raises(InputError, match=r"'resnet50'.*resnet18_gray, efficientnet_b0, efficientnet_lite0, compact28"):
        build_classifier("resnet50")


@pytest.mark.parametrize("size", [{"classes": 1}, {"channels": 0}])
def test_fewer_than_two_classes_or_no_channels_are_refused(size):
    with pytest.raises(InputError, match="at least two classes and one channel"):
        build_classifier("compact28", **size)
