import matplotlib.cbook
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from models.classifier.classifiers import build_classifier
from models.classifier.networks.efficientnet_lite0 import efficientnet_lite0
from models.classifier.pretrained import imagenet_file

UNIFORM = 652  # "military uniform" among the 1000 classes


def test_the_image_is_enlarged_and_the_fifth_stage_has_7_by_7_places():
    network = efficientnet_lite0(channels=1).network.eval()
    sides = []
    for module in (network.enlarge, *network.stages.blocks):
        module.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    assert network(torch.zeros(1, 1, 28, 28)).shape == (1, 1280)
    assert sides == [112, 56, 28, 14, 7, 7, 4, 4]


def test_the_published_weights_know_a_photograph():
    """The proof that the layers got the right weights: with their published head they name what is in a picture."""
    file = imagenet_file("efficientnet_lite0")
    model = build_classifier("efficientnet_lite0", channels=3, pretrained=file).eval()
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg")) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((56, 56))) / 127.5 - 1
    published = torch.load(file, map_location="cpu", weights_only=True)
    with torch.inference_mode():
        features = model.embed(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])
        scores = F.linear(features, published["_fc.weight"], published["_fc.bias"])
    assert UNIFORM in scores[0].topk(5).indices


def test_grey_images_give_what_equal_colours_give():
    file = imagenet_file("efficientnet_lite0")
    grey, colour = (build_classifier("efficientnet_lite0", channels=n, pretrained=file).eval() for n in (1, 3))
    image = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(grey.embed(image), colour.embed(image.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)
