import base64
import io

import numpy as np
import pytest
from PIL import Image

from tasks.cases.pictures import MOST_SIDE, at_page_size, small_url, thumbnail
from tests.tasks.cases.examples import phantom

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ((5000, 4000), (1200, 960)),
        ((1200, 700), (1200, 700)),
        ((401, 300), (401, 300)),
        ((28, 28), (420, 420)),
        ((1, 3), (134, 402)),
        ((1, 30_000), (1, 1200)),
    ],
)
def test_a_page_shows_a_picture_neither_too_large_nor_too_small(given: tuple[int, int], shown: tuple[int, int]):
    assert at_page_size(np.zeros(given, np.uint8)).shape == shown


def test_a_small_picture_is_enlarged_pixel_by_pixel():
    picture = RANDOM.integers(0, 256, (28, 20), dtype=np.uint8)
    shown = at_page_size(picture)
    assert (shown[7::15, 7::15] == picture).all()


def test_a_large_picture_keeps_its_look():
    rows, columns = np.indices((3000, 2000))
    picture = ((rows / 3000 + columns / 2000) * 127).astype(np.uint8)
    shown = at_page_size(picture)
    assert np.abs(shown[600, ::100].astype(int) - picture[1500, ::250]).max() <= 2


def decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.full((500, 500), 77, np.uint8), "png"),
        (RANDOM.integers(0, 256, (400, 400), dtype=np.uint8), "jpeg"),
        (RANDOM.integers(0, 256, (400, 400, 3), dtype=np.uint8), "jpeg"),
        (np.full((1200, 1200, 3), 77, np.uint8), "jpeg"),
    ],
)
def test_a_picture_is_written_in_the_smaller_way(image: np.ndarray, kind: str):
    url = small_url(image)
    assert url.startswith(f"data:image/{kind};base64,")
    read = decoded(url)
    assert read.format == kind.upper()
    assert read.size == (image.shape[1], image.shape[0])
    if kind == "png":
        assert (np.asarray(read) == image).all()


def test_a_picture_of_twenty_million_pixels_takes_less_than_a_megabyte():
    noise = RANDOM.integers(0, 256, (5000, 4000), dtype=np.uint8)
    assert max(at_page_size(noise).shape) == MOST_SIDE
    assert len(small_url(at_page_size(noise))) < 1_000_000


@pytest.mark.parametrize(("height", "width"), [(300, 400), (2000, 1500), (28, 28), (1, 9)])
def test_a_thumbnail_shows_the_middle_square(height: int, width: int):
    png = thumbnail(phantom(height=height, width=width))
    side = min(height, width, 56)
    assert Image.open(io.BytesIO(png)).size == (side, side)
    assert len(png) < 4_000


def test_a_thumbnail_leaves_out_what_the_classifier_does_not_see():
    picture = np.zeros((100, 300), np.uint8)
    picture[:, 100:200] = 200
    assert (np.asarray(Image.open(io.BytesIO(thumbnail(picture)))) == 200).all()
