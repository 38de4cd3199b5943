import numpy as np
import pytest

from models.errors import InputError
from models.report_generation.controls import CONTROLS, DEFAULT_CONTROLS, control_case, control_image
from models.report_generation.schema import Case

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(120, 30, (12, 28, 28)).clip(0, 255).astype(np.uint8)
LABELS = np.array([0, 1] * 6)
CONTEXT_CONTROLS = [name for name, control in CONTROLS.items() if control.changes == "context"]
CASE = Case(index=3, image_sha256="", probability=0.8, threshold=0.5, heat_region="no focus", heat_share=0)


def test_all_controls_but_the_slow_one_are_asked_for():
    assert set(CONTROLS) - set(DEFAULT_CONTROLS) == {"alone"}
    assert set(DEFAULT_CONTROLS) < set(CONTROLS)


def test_there_is_nothing_on_a_blank_image_and_no_image_without_one():
    blank = control_image("blank", 3, IMAGES, LABELS, seed=0)
    assert blank.shape == (28, 28)
    assert blank.dtype == np.uint8
    assert not blank.any()
    assert control_image("no_image", 3, IMAGES, LABELS, seed=0) is None


def test_noise_has_the_images_brightness_and_spread_and_repeats():
    noise = control_image("noise", 3, IMAGES, LABELS, seed=0)
    assert noise.dtype == np.uint8
    assert noise.mean() == pytest.approx(IMAGES[3].mean(), abs=5)
    assert noise.std() == pytest.approx(IMAGES[3].std(), rel=0.1)
    assert abs(np.corrcoef(noise.ravel(), IMAGES[3].ravel())[0, 1]) < 0.15
    np.testing.assert_array_equal(noise, control_image("noise", 3, IMAGES, LABELS, seed=0))
    assert (noise != control_image("noise", 3, IMAGES, LABELS, seed=1)).any()
    assert (noise != control_image("noise", 4, IMAGES, LABELS, seed=0)).any()


@pytest.mark.parametrize("index", range(12))
@pytest.mark.parametrize(("control", "same"), [("same_label", True), ("other_label", False)])
def test_another_patients_image_is_of_the_class_asked_for(index: int, control: str, same: bool):
    image = control_image(control, index, IMAGES, LABELS, seed=0)
    (shown,) = [other for other in range(12) if (IMAGES[other] == image).all()]
    assert shown != index
    assert (LABELS[shown] == LABELS[index]) == same
    np.testing.assert_array_equal(image, control_image(control, index, IMAGES, LABELS, seed=0))


def test_different_seeds_choose_different_patients():
    shown = {control_image("other_label", 0, IMAGES, LABELS, seed=seed).tobytes() for seed in range(40)}
    assert len(shown) == 6


def test_a_duplicate_is_not_another_patient():
    images = np.concatenate([IMAGES[:1], IMAGES[:1], IMAGES[2:3], IMAGES[:1]])
    labels = np.array([0, 0, 0, 1])
    for seed in range(20):
        np.testing.assert_array_equal(control_image("same_label", 0, images, labels, seed), IMAGES[2])
    with pytest.raises(InputError, match="Case 0 has no image of another patient of the other class"):
        control_image("other_label", 0, images, labels, seed=0)
    with pytest.raises(InputError, match="of its own class"):
        control_image("same_label", 3, images, labels, seed=0)


@pytest.mark.parametrize("control", ["none", "flipped", "even", "no_probability", "paraphrase", "companions", "alone"])
def test_other_controls_show_the_own_image(control: str):
    np.testing.assert_array_equal(control_image(control, 3, IMAGES, LABELS, seed=0), IMAGES[3])


def test_only_the_probability_told_changes():
    told = {control: control_case(control, CASE) for control in CONTEXT_CONTROLS}
    assert told["flipped"].probability == pytest.approx(0.2)
    assert told["even"].probability == 0.5
    assert told["no_probability"].probability is None
    for changed in told.values():
        assert changed.model_copy(update={"probability": 0.8}) == CASE
    for control in ["none", *(name for name in CONTROLS if name not in CONTEXT_CONTROLS)]:
        assert control_case(control, CASE) == CASE


def test_an_unknown_probability_stays_unknown():
    unknown = control_case("no_probability", CASE)
    for control in CONTEXT_CONTROLS:
        assert control_case(control, unknown) == unknown
