import pytest
import torch

from models.classifiers import build_classifier, grad_cam_layer
from models.errors import InputError


def pixels(count=2, size=28):
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(0))


def test_one_logit_an_image_and_512_features():
    model = build_classifier("resnet18_gray").eval()
    assert model(pixels()).shape == (2,)
    assert model.embed(pixels()).shape == (2, 512)
    assert model(pixels(1, size=64)).shape == (1,)


def test_the_head_is_what_stands_between_embedding_and_logit():
    model = build_classifier("resnet18_gray").eval()
    embeddings = model.embed(pixels())
    assert isinstance(model.backbone.fc, torch.nn.Identity)
    torch.testing.assert_close(embeddings @ model.head.weight[0] + model.head.bias, model(pixels()))


def test_the_seed_decides_the_weights_and_the_global_generator_does_not_move():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = build_classifier("resnet18_gray", seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    again, other = build_classifier("resnet18_gray", seed=1), build_classifier("resnet18_gray", seed=2)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.backbone.layer1[0].conv1.weight, other.backbone.layer1[0].conv1.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_the_layer_for_grad_cam_has_a_map_at_28_pixels():
    model = build_classifier("resnet18_gray").eval()
    shapes = []
    grad_cam_layer(model).register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    model(pixels())
    assert min(shapes[0][-2:]) >= 4


def test_an_unknown_architecture_is_named_with_the_known_ones():
    with pytest.raises(InputError, match=r"'resnet50'.*resnet18_gray"):
        build_classifier("resnet50")
