"""Which pictures are foreign: distances against scikit-learn and naive loops, what is kept, and every sentence."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from models.errors import InputError
from tasks.cases.screening import KEPT, MOST_IMAGES, NEIGHBOURS, SIDE, fit_screening, plain_reasons, screen, thumbnails
from tasks.data.phantoms import draw_phantoms
from tasks.data.pictures.picture_facts import measure

TRAIN, VAL, TEST = 300, 80, 40
FACTS = measure(np.add.outer(np.arange(200), np.arange(220)).astype(np.uint8))


def embed(images):
    """A stand-in for a network: brightness in 4 × 4 fields, through fixed random weights and a rectifier."""
    fields = images.reshape(len(images), 4, 7, 4, 7).mean(axis=(2, 4)).reshape(len(images), 16) / 255
    return np.maximum(fields @ np.random.default_rng(5).standard_normal((16, 32)), 0).astype(np.float32) + 0.01


@pytest.fixture(scope="module")
def images():
    phantoms = draw_phantoms(28, 0)
    return phantoms.train_images[:TRAIN], phantoms.val_images[:VAL], phantoms.test_images[:TEST]


@pytest.fixture(scope="module")
def fitted(images):
    train, val, _ = images
    return fit_screening(train, embed(train), val, embed(val))


def judge(fitted, pictures):
    return screen(fitted, pictures, embed(pictures), [FACTS] * len(pictures))


def thumbnail(image):
    cell = len(image) // SIDE
    starts = range(0, len(image), cell)
    return np.array([image[y : y + cell, x : x + cell].mean() for y in starts for x in starts])


def test_distances_are_those_of_scikit_learn(images, fitted):
    train, val, test = images

    def nearest(queries, gallery, metric):
        search = NearestNeighbors(n_neighbors=NEIGHBOURS, metric=metric, algorithm="brute").fit(gallery)
        return search.kneighbors(queries)[0].mean(axis=1)

    def parts(pictures):
        small = [np.stack([thumbnail(image) for image in some]) for some in (pictures, train)]
        return np.stack([nearest(*small, "correlation"), nearest(embed(pictures), embed(train), "cosine")])

    rank = int(np.ceil(KEPT * (VAL + 1)))
    each = np.sort(parts(val), axis=1)[:, rank - 1]
    limit = np.sort((parts(val) / each[:, None]).max(axis=0))[rank - 1]
    expected = (parts(test) / each[:, None]).max(axis=0) / limit
    found = judge(fitted, test)
    assert np.array([one.distance for one in found]) == pytest.approx(expected, rel=0.01)  # of vectors in float16
    assert found[0].limit == pytest.approx(1)


def test_the_thumbnail_of_any_size_is_its_mean_over_fields(images):
    image = images[0][:1]
    enlarged = image.repeat(3, axis=1).repeat(3, axis=2)
    assert thumbnails(enlarged) == pytest.approx(thumbnails(image), abs=1e-5)
    uneven = np.array(Image.fromarray(image[0]).resize((64, 64), Image.Resampling.BOX))[None]
    assert float((thumbnails(uneven) * thumbnails(image)).sum()) > 0.97
    centred = thumbnail(image[0]) - thumbnail(image[0]).mean()
    assert thumbnails(image)[0] == pytest.approx(centred / np.linalg.norm(centred), abs=1e-5)


@pytest.mark.parametrize("count", [1, 7, 19, 20, 79, 80])
def test_so_many_of_the_validation_images_are_kept(count, images):
    train, val, _ = images
    fitted = fit_screening(train, embed(train), val[:count], embed(val[:count]))
    found = judge(fitted, val[:count])
    kept = sum(not one.foreign for one in found)
    assert kept >= KEPT * count
    assert kept <= KEPT * (count + 1) + 1
    for one in found:
        farther = sum(other.distance >= one.distance for other in found)
        assert one.typical == pytest.approx((farther + 1) / (count + 1))


def test_foreign_pictures_are_told_and_the_reason_is_the_part_that_is_far(images, fitted):
    test = images[2]
    kept = np.mean([not one.foreign for one in judge(fitted, test)])
    assert kept > 0.85
    noise = np.random.default_rng(0).integers(0, 256, test.shape, dtype=np.uint8)
    for foreign in (noise, 255 - test, np.rot90(test, 1, (1, 2))):
        found = judge(fitted, foreign)
        assert np.mean([one.foreign for one in found]) > 0.9
        assert all(one.foreign == (one.distance > one.limit) == bool(one.reasons) for one in found)
    (turned,) = screen(fitted, np.rot90(test[:1], 2, (1, 2)), embed(test[:1]), [FACTS])
    assert [reason.split(":")[0] for reason in turned.reasons] == ["It is laid out unlike all training images"]
    (strange,) = screen(fitted, images[0][:1], -embed(images[0][:1]), [FACTS])
    assert strange.reasons == ("To the classifier it is unlike all of its training images.",)


def test_brightness_and_contrast_change_nothing_by_pixels(images, fitted):
    image = images[0][:1]
    pale = (image // 4 + 90).astype(np.uint8)
    (one,) = screen(fitted, pale, embed(image), [FACTS])
    assert not one.foreign


def test_an_even_picture_and_an_empty_embedding_are_far(images, fitted):
    even = np.full((1, 28, 28), 77, np.uint8)
    (one,) = screen(fitted, even, np.zeros((1, 32), np.float32), [FACTS])
    assert one.foreign
    assert len(one.reasons) == 2
    assert one.distance == pytest.approx((1 / fitted["scale"]).max())


def test_an_embedding_that_is_no_number_is_refused(images, fitted):
    with pytest.raises(InputError, match="NaN"):
        screen(fitted, images[2][:1], np.full((1, 32), np.nan), [FACTS])


def test_what_is_kept_is_small_and_survives_a_file(images, fitted, tmp_path):
    np.savez_compressed(tmp_path / "screening.npz", **fitted)
    with np.load(tmp_path / "screening.npz") as loaded:
        assert judge(dict(loaded), images[2]) == judge(fitted, images[2])
    many = np.zeros((MOST_IMAGES + 5, 28, 28), np.uint8)
    large = fit_screening(many, np.ones((len(many), 2)), many[:2], np.ones((2, 2)))
    assert len(large["pixels"]) == len(large["embeddings"]) == MOST_IMAGES


def test_pictures_are_judged_one_by_one_as_in_batches(images, fitted):
    test = images[2]
    many = judge(fitted, np.tile(test, (8, 1, 1)))
    assert many[: len(test)] == many[len(test) : 2 * len(test)]
    for one, again in zip(many, test, strict=False):
        assert one.distance == pytest.approx(judge(fitted, again[None])[0].distance, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modality": "CT"}, "Its header says computed tomography, and a chest X-ray was expected."),
        ({"body_part": "HAND"}, "Its header says that it shows the body part HAND, and a chest was expected."),
        ({"frames": 96}, "Its file holds 96 frames, and one X-ray was expected."),
        ({"height": 20}, "It has 20 × 220 pixels, and the classifier needs 28 × 28."),
        ({"width": 501}, "It has 200 × 501 pixels, and an X-ray is at most 2.5 times as long as wide"),
        ({"contrast": 15}, "It has hardly any contrast: nearly all of it is of one grey."),
        ({"white": 0.8}, "80% of it is white, as of a page of text or a drawing."),
        ({"flat": 0.81}, "It consists of a few even grey levels, as a drawing or a screen does."),
        ({"coloured": 0.55}, "55% of it is coloured, as of a photograph, and X-rays are grey."),
    ],
)
def test_each_plain_reason_is_one_sentence(changes, said, images, fitted):
    reasons = plain_reasons(replace(FACTS, **changes), 28)
    assert any(reason.startswith(said) for reason in reasons)
    (one,) = screen(fitted, images[0][:1], embed(images[0][:1]), [replace(FACTS, **changes)])
    assert one.foreign
    assert one.reasons == tuple(reasons)
    assert one.distance <= one.limit  # a distance does not hide it


@pytest.mark.parametrize("changes", [
    {}, {"modality": "DX", "body_part": "CHEST", "dicom": True}, {"modality": "other", "body_part": "other"},
    {"modality": "OT"}, {"height": 28, "width": 28}, {"width": 500}, {"coloured": 0.1},
])  # fmt: skip
def test_nothing_speaks_against_an_x_ray(changes):
    assert plain_reasons(replace(FACTS, **changes), 28) == []


def test_the_header_does_not_count_for_a_classifier_of_other_images():
    tomography = replace(FACTS, modality="CT", body_part="LIVER")
    assert plain_reasons(tomography, 28, chest_x_rays=False) == []
    assert len(plain_reasons(tomography, 28)) == 2


def test_of_other_images_only_size_and_frames_speak_plainly():
    odd = replace(FACTS, coloured=0.9, white=0.9, flat=0.9, contrast=3, width=9 * FACTS.height)
    assert plain_reasons(odd, 28, chest_x_rays=False) == []
    (small, many) = plain_reasons(replace(FACTS, height=20, frames=3), 28, chest_x_rays=False)[::-1]
    assert "needs 28 × 28" in small
    assert many == "Its file holds 3 frames, and one picture was expected."


def test_thumbnails_in_colour_are_those_of_a_loop_and_tell_colours_apart():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    for found, image in zip(thumbnails(images), images, strict=True):
        cells = [image[r : r + 4, c : c + 4].mean(axis=(0, 1)) for r in range(0, 28, 4) for c in range(0, 28, 4)]
        small = np.concatenate(cells) - np.mean(cells)
        np.testing.assert_allclose(found, small / np.linalg.norm(small), atol=1e-5)
    red, blue = np.zeros((2, 28, 28, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 200
    first, second = thumbnails(np.stack([red, blue]))
    assert first @ second < 0


def test_validation_that_lies_in_train_leaves_finite_distances(images):
    train = np.repeat(images[0][:10], NEIGHBOURS, axis=0)
    fitted = fit_screening(train, embed(train), train, embed(train))
    found = judge(fitted, np.concatenate([train, images[2]]))
    assert not any(one.foreign for one in found[: len(train)])
    assert all(one.foreign and np.isfinite(one.distance) for one in found[len(train) :])
