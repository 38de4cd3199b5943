import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.stats import beta, kstest
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from models.choices import AUGMENTATIONS
from models.classifier.augmentation import MIXTURES, STRENGTHS, Augmentation, mixup, views

NONE = asdict(STRENGTHS["none"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, size=28, channels=1):
    return torch.rand(count, channels, size, size, generator=generator(9))


def blob(size=29):
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-((rows - 9.0) ** 2 + (columns - 17.0) ** 2) / 8)[None, None]


def draws(count, seed=0):
    return torch.rand(7, count, generator=generator(seed)) * 2 - 1


def test_no_strength_changes_nothing():
    assert torch.equal(STRENGTHS["none"](images(), generator()), images())
    faint = Augmentation(**NONE | {"brightness": 1e-9})
    torch.testing.assert_close(faint(images(), generator()), images(), atol=1e-5, rtol=0)


def test_light_is_half_of_standard():
    light, standard = asdict(STRENGTHS["light"]), asdict(Augmentation())
    assert light == {name: value and value / 2 for name, value in standard.items()}


def test_strong_is_standard_with_stronger_photometry_only():
    strong, standard = asdict(STRENGTHS["strong"]), asdict(Augmentation())
    assert {name for name in strong if (strong[name] or 0) > (standard[name] or 0)} == {
        "gamma",
        "contrast",
        "brightness",
    }
    assert {name for name in strong if strong[name] == standard[name]} == set(standard) - {
        "gamma",
        "contrast",
        "brightness",
    }


def test_crops_are_standard_with_crops_in_the_place_of_scaling():
    crops = replace(STRENGTHS["crops"], scale=0.1, crop_area=None, crop_aspect=0.0)
    assert crops == STRENGTHS["standard"]


def test_the_same_generator_gives_the_same_and_another_gives_other_images():
    assert torch.equal(Augmentation()(images(), generator(1)), Augmentation()(images(), generator(1)))
    assert not torch.allclose(Augmentation()(images(), generator(1)), Augmentation()(images(), generator(2)))


@pytest.mark.parametrize("strength", ["light", "standard", "strong", "crops"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_varies_by_itself_within_the_range_and_the_input_stays(strength, channels):
    batch = images(1, channels=channels).expand(8, -1, -1, -1).contiguous()
    varied = STRENGTHS[strength](batch, generator())
    assert varied.shape == batch.shape
    assert float(varied.min()) >= 0
    assert float(varied.max()) <= 1
    assert len({image.numpy().tobytes() for image in varied}) == 8
    assert torch.equal(batch[0], images(1, channels=channels)[0])


def test_the_channels_of_an_image_vary_together():
    batch = images(4).expand(-1, 3, -1, -1)
    varied = STRENGTHS["strong"](batch, generator(2))
    torch.testing.assert_close(varied[:, 0], varied[:, 1])
    torch.testing.assert_close(varied[:, 0], varied[:, 2])


@pytest.mark.parametrize("seed", range(4))
def test_rotation_agrees_with_torchvision(seed):
    ours = Augmentation(**NONE | {"rotation": 40.0})(blob(), generator(seed))
    angle = -float(draws(1, seed)[0, 0]) * 40  # clockwise here, counter-clockwise there
    reference = tv.rotate(blob(), angle, interpolation=InterpolationMode.BILINEAR)
    torch.testing.assert_close(ours, reference, atol=2e-3, rtol=0)


def center_and_mass(image):
    rows, columns = np.indices(image.shape)
    return (image * rows).sum() / image.sum(), (image * columns).sum() / image.sum(), image.sum()


@pytest.mark.parametrize("seed", range(4))
def test_shift_moves_by_the_drawn_fraction_of_the_side(seed):
    before = center_and_mass(blob()[0, 0].numpy())
    after = center_and_mass(Augmentation(**NONE | {"shift": 0.1})(blob(), generator(seed))[0, 0].numpy())
    right, down = (draws(1, seed)[1:3, 0] * 0.1 * 29).tolist()
    assert after[0] - before[0] == pytest.approx(-down, abs=0.05)
    assert after[1] - before[1] == pytest.approx(-right, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_scale_enlarges_areas_by_the_square_of_the_drawn_factor(seed):
    before = center_and_mass(blob()[0, 0].numpy())
    after = center_and_mass(Augmentation(**NONE | {"scale": 0.2})(blob(), generator(seed))[0, 0].numpy())
    factor = 1 + float(draws(1, seed)[3, 0]) * 0.2
    assert after[2] / before[2] == pytest.approx(factor**2, rel=0.02)


def test_rotation_is_rigid_on_an_oblong_image():
    square = blob(29)
    oblong = torch.zeros(1, 1, 29, 49)
    oblong[..., 10:39] = square
    turn = Augmentation(**NONE | {"rotation": 30.0})
    torch.testing.assert_close(turn(oblong, generator(3))[..., 10:39], turn(square, generator(3)), atol=2e-3, rtol=0)


def test_photometry_is_the_formula():
    strengths = Augmentation(**NONE | {"gamma": 0.4, "contrast": 0.3, "brightness": 0.2})
    batch = images(5)
    varied = strengths(batch, generator(4))
    for index, (gamma, contrast, brightness) in enumerate(draws(5, 4)[4:].T.tolist()):
        powered = batch[index, 0].double().numpy() ** math.exp(0.4 * gamma)
        expected = (powered - powered.mean()) * (1 + 0.3 * contrast) + powered.mean() + 0.2 * brightness
        np.testing.assert_allclose(varied[index, 0].numpy(), expected.clip(0, 1), atol=1e-4)


def test_mixup_blends_each_image_and_its_target_with_the_previous_of_the_batch():
    batch, targets = images(5), torch.eye(5)
    blended, shared = mixup(batch, targets, 0.4, generator(3))
    share = float(shared[0, 4])
    assert 0 < share < 1
    for index in range(5):
        expected = (1 - share) * batch[index] + share * batch[index - 1]
        torch.testing.assert_close(blended[index], expected)
        torch.testing.assert_close(shared[index], (1 - share) * targets[index] + share * targets[index - 1])
    assert torch.equal(mixup(batch, targets, 0.4, generator(3))[0], blended)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_of_mixup_follows_the_beta_distribution(alpha):
    source, targets = generator(11), torch.tensor([0.0, 1.0])
    shares = [float(mixup(images(2, size=1), targets, alpha, source)[1][0]) for _ in range(2000)]
    assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 0.01


CROPS = Augmentation(**NONE | {"crop_area": (0.5, 1.1), "crop_aspect": 0.2})


def drawn_crops(count, seed):
    """Sides and centres of the crops, in halves of the image's side, by the formula, image by image."""
    source = generator(seed)
    torch.rand(7, count, generator=source)
    for size, ratio, right, down in torch.rand(4, count, generator=source).double().T.tolist():
        area, aspect = 0.5 + 0.6 * size, 1.2 ** (2 * ratio - 1)
        width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        yield width, height, (1 - width) * (2 * right - 1), (1 - height) * (2 * down - 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_agree_with_an_interpolation_of_each_pixel(channels):
    batch = images(40, size=20, channels=channels)
    varied, wider = CROPS(batch, generator(5)), 0
    for image, result, (width, height, right, down) in zip(batch, varied, drawn_crops(40, 5), strict=True):
        steps = (np.arange(20) + 0.5) / 10 - 1  # centres of pixels, the image from -1 to 1
        rows, columns = ((steps * side + place + 1) * 10 - 0.5 for side, place in ((height, down), (width, right)))
        where = np.meshgrid(rows, columns, indexing="ij")
        for channel in range(channels):
            expected = map_coordinates(image[channel].double().numpy(), where, order=1, mode="nearest")
            np.testing.assert_allclose(result[channel].numpy(), expected, atol=2e-5)
        inside = abs(right) + width <= 1 + 1e-9 and abs(down) + height <= 1 + 1e-9
        wider += not inside
        assert inside or width > 1 or height > 1
    assert 0 < wider < 20


def test_a_crop_is_cut_from_the_turned_and_shifted_image():
    turn = Augmentation(**NONE | {"rotation": 30.0, "shift": 0.1})
    both = replace(turn, crop_area=(0.64, 0.64))
    size, batch = 201, blob(201)
    turned = turn(batch, generator(7))
    source = generator(7)
    torch.rand(7, 1, generator=source)
    place = torch.rand(4, 1, generator=source)[2:, 0]
    left, top = ((0.2 * place) * size).tolist()
    rows, columns = (start + (np.arange(size) + 0.5) * 0.8 - 0.5 for start in (top, left))
    where = np.meshgrid(rows, columns, indexing="ij")
    expected = map_coordinates(turned[0, 0].double().numpy(), where, order=1, mode="nearest")
    np.testing.assert_allclose(both(batch, generator(7))[0, 0].numpy(), expected, atol=0.02)


def test_an_ensemble_of_augmentations_has_a_view_for_each_network_and_one_network_has_the_first():
    batch, source = images(5, channels=3), generator(8)
    each = [STRENGTHS[name](batch, source) for name in ("standard", "crops", "standard", "crops")]
    assert torch.equal(views(batch, "diverse", 4, generator(8)), torch.cat(each, dim=1))
    assert torch.equal(views(batch, "diverse", 1, generator(8)), STRENGTHS["standard"](batch, generator(8)))
    assert torch.equal(views(batch, "crops", 4, generator(8)), STRENGTHS["crops"](batch, generator(8)))


def test_every_augmentation_of_the_form_is_one_or_a_mixture_of_those():
    assert set(AUGMENTATIONS) == set(STRENGTHS) | set(MIXTURES)
    assert not set(STRENGTHS) & set(MIXTURES)
    assert {part for parts in MIXTURES.values() for part in parts} <= set(STRENGTHS)
