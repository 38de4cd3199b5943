"""Pictures that are no chest X-rays as the classifier knows them, to measure the screening with.

What is drawn is drawn from a seed, and photographs are those that scikit-image and scikit-learn carry with them, so
that the same pictures are made anywhere.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images

from tasks.data.phantoms import draw_phantoms

Pictures = list[NDArray[np.uint8]]
"""Grey (height, width) or in colour (height, width, 3), each of its own size."""

_PHOTOGRAPHS = (
    "astronaut.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png",
    "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "rocket.jpg",
)  # fmt: skip
_SLIDES = ("cell.png", "ihc.png", "retina.jpg", "microaneurysms.png")
_TEXTURES = ("brick.png", "grass.png", "gravel.png")
_PAGES = ("page.png", "text.png")
_TEXT = "patient report lungs clear heart size normal no effusion the of and with was seen right left upper lower"
_DARKEST, _BRIGHTEST = 0, 256


def to_choose_with(xrays: NDArray[np.uint8], count: int, seed: int) -> dict[str, Pictures]:
    """Draw the foreign pictures with which a way to measure distance is chosen.

    Args:
        xrays: of validation, shape (images, 28, 28).
        count: pictures of each kind.
        seed: of the drawing.

    Returns:
        By kind.
    """
    random = np.random.default_rng(seed)
    some = xrays[random.permutation(len(xrays))[:count]]
    noise = random.integers(_DARKEST, _BRIGHTEST, some.shape, dtype=np.uint8)
    photographs = _crops(load_sample_images().images, count, random)
    small = np.stack([np.array(Image.fromarray(each).convert("L").resize((28, 28))) for each in photographs])
    halves = np.arange(28) < 14
    return {
        "uniform noise": list(noise),
        "photographs of scikit-learn": photographs,
        "drawn shapes": [_shapes(random) for _ in range(count)],
        "X-rays turned by 90°": list(np.rot90(some, 1, (1, 2))),
        "X-rays turned by 30°": _each(some, lambda image: ndimage.rotate(image, 30, reshape=False, mode="nearest")),
        "X-rays in wrong quarters": list(np.roll(some, (14, 14), (1, 2))),
        "X-rays, half of them noise": list(np.where(halves, some, noise)),
        "X-rays under a photograph": list(((some.astype(int) + small[: len(some)]) // 2).astype(np.uint8)),
    }


def harmless(xrays: NDArray[np.uint8], count: int, seed: int) -> dict[str, Pictures]:
    """Change X-rays so little that they should not become foreign.

    Args:
        xrays: of validation, shape (images, 28, 28).
        count: pictures of each kind.
        seed: of the changes.

    Returns:
        By kind.
    """
    random = np.random.default_rng(seed)
    some = xrays[random.permutation(len(xrays))[:count]]
    turns, steps = random.choice([-8, 8], len(some)), random.choice([-2, 2], (len(some), 2))

    def gamma(power: float) -> Pictures:
        return _each(some, lambda image: 255 * (image / 255) ** power)

    return {
        "turned by 8°": [
            _levels(ndimage.rotate(image.astype(float), turn, reshape=False, mode="nearest"))
            for image, turn in zip(some, turns, strict=True)
        ],
        "shifted by 2 pixels of 28": [
            _levels(ndimage.shift(image.astype(float), step, mode="nearest"))
            for image, step in zip(some, steps, strict=True)
        ],
        "enlarged by a tenth": [
            np.array(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC, box=(1.4, 1.4, 26.6, 26.6)))
            for image in some
        ],
        "brighter (gamma 0.6)": gamma(0.6),
        "darker (gamma 1.6)": gamma(1.6),
        "with noise (8 grey levels)": list(_levels(some + random.normal(0, 8, some.shape))),
    }


def to_measure_with(xrays: NDArray[np.uint8], count: int, seed: int) -> dict[str, Pictures]:
    """Draw the foreign pictures with which the chosen way is measured.

    Args:
        xrays: of test, shape (images, 28, 28); all are changed.
        count: pictures of each other kind.
        seed: of the drawing.

    Returns:
        By kind.
    """
    random = np.random.default_rng(seed)
    numbers = load_digits().images
    spread, middle = random.uniform(10, 80, (count, 1, 1)), random.uniform(60, 200, (count, 1, 1))
    even, grain = random.integers(_DARKEST, _BRIGHTEST, (count, 1, 1)), random.integers(0, 4, (count, 1, 1))
    normal = random.standard_normal((2, count, 28, 28))
    return {
        "Gaussian noise": list(_levels(middle + spread * normal[0])),
        "smooth noise": [_clouds(random) for _ in range(count)],
        "even, or nearly": list(_levels(even + np.rint(grain * normal[1]))),
        "drawn phantoms": list(draw_phantoms(28, seed).test_images[:count]),
        "digits": [_levels(numbers[each] * (255 / 16)) for each in random.permutation(len(numbers))[:count]],
        "pages of text": [*_shipped(_PAGES), *(_page(random) for _ in range(count - len(_PAGES)))],
        "photographs of scikit-image": _crops(_shipped(_PHOTOGRAPHS), count, random),
        "slides and retinas of scikit-image": _crops(_shipped(_SLIDES), count, random),
        "textures of scikit-image": _crops(_shipped(_TEXTURES), count, random),
        "X-rays inverted": list(255 - xrays),
        "X-rays turned by 90°": list(np.rot90(xrays, 1, (1, 2))),
        "X-rays turned by 180°": list(np.rot90(xrays, 2, (1, 2))),
        "X-rays upside down": list(xrays[:, ::-1]),
        "X-rays at 40 % of their brightness": list(_levels(xrays * 0.4)),
        "X-rays, left and right swapped": list(xrays[:, :, ::-1]),
        "X-rays, the middle quarter alone": list(xrays[:, 7:21, 7:21].repeat(2, axis=1).repeat(2, axis=2)),
    }


def _levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _each(images: NDArray[np.uint8], change: Callable[[NDArray[np.float64]], NDArray[Any]]) -> Pictures:
    return [_levels(change(image.astype(float))) for image in images]


def _crops(pictures: Sequence[NDArray[np.uint8]], count: int, random: np.random.Generator) -> Pictures:
    """Cut squares, one picture after the other, between a quarter of its shorter side and the whole."""
    found = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        height, width = picture.shape[:2]
        side = int(min(height, width) * random.uniform(0.25, 1))
        top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
        found.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return found


def _shipped(names: Sequence[str]) -> Pictures:
    folder = Path(skimage.__file__).parent / "data"
    pictures = [Image.open(folder / name) for name in names]
    return [np.array(picture.convert("L" if picture.mode == "L" else "RGB")) for picture in pictures]


def _shapes(random: np.random.Generator) -> NDArray[np.uint8]:
    picture = Image.new("L", (224, 224), int(random.integers(_DARKEST, _BRIGHTEST)))
    pen = ImageDraw.Draw(picture)
    for _ in range(random.integers(1, 7)):
        (left, right), (top, bottom) = np.sort(random.integers(0, 224, (2, 2)), axis=1).tolist()
        draw = pen.ellipse if random.random() < 0.5 else pen.rectangle
        draw((left, top, right + 1, bottom + 1), fill=int(random.integers(_DARKEST, _BRIGHTEST)))
    return np.array(picture)


def _clouds(random: np.random.Generator) -> NDArray[np.uint8]:
    values = ndimage.gaussian_filter(random.standard_normal((28, 28)), random.uniform(1, 5))
    return _levels((values - values.min()) / np.ptp(values) * 255)


def _page(random: np.random.Generator) -> NDArray[np.uint8]:
    side, size = int(random.integers(200, 900)), int(random.integers(10, 40))
    picture = Image.new("L", (side, side), 255)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for top in range(int(random.integers(5, 60)), side - size, round(size * 1.4)):
        pen.text((int(random.integers(5, 30)), top), " ".join(random.choice(_TEXT.split(), 20)), fill=0, font=font)
    return np.array(picture)
