import io

import matplotlib.image
import numpy as np
import pytest

from models.report_generation.schema import Case, Report
from models.report_generation.template import TemplateGenerator
from tasks.reports.figures import contact_sheet


def evidence(count: int) -> tuple[np.ndarray, np.ndarray, list[Case], list[Report], list[str]]:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
    cases = [
        Case(index=i, image_sha256="", probability=0.3 * i % 1, threshold=0.5, heat_region="no focus", heat_share=0)
        for i in range(count)
    ]
    reports = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False).generate(cases, images)
    return images, generator.random((count, 28, 28)), cases, reports, ["normal", "pneumonia"] * (count // 2 + 1)


def draw(count: int, *, phantoms: bool = False) -> bytes:
    images, heat, cases, reports, truths = evidence(count)
    return contact_sheet(images, heat, cases, reports, truths[:count], phantoms=phantoms)


def pixels(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png))


def test_sheet_grows_with_cases_and_repeats():
    one, three = draw(1), draw(3)
    assert three == draw(3)
    assert pixels(three).shape[0] > pixels(one).shape[0]
    assert pixels(three).shape[1] == pixels(one).shape[1]


def test_image_pixels_are_shown_as_they_are():
    """A bright and a dark image differ in the figure where the picture stands."""
    images, heat, cases, reports, truths = evidence(1)
    dark, bright = (
        pixels(contact_sheet(np.full_like(images, level), heat * 0, cases, reports, truths[:1], phantoms=False))
        for level in (0, 255)
    )
    changed = (np.abs(dark[..., :3] - bright[..., :3]).max(axis=2) > 0.9).sum()
    assert changed > 100 * 100


def test_phantoms_get_a_watermark():
    assert draw(2, phantoms=True) != draw(2)


@pytest.mark.parametrize("impression", ["costs $5, or $ 6_^{", "word " * 2000, "x" * 300])
def test_any_text_can_be_drawn_without_growing_the_sheet_beyond_bounds(impression: str):
    images, heat, cases, reports, truths = evidence(2)
    odd = [reports[0].model_copy(update={"impression": impression}), None]
    assert pixels(contact_sheet(images, heat, cases, odd, truths[:2], phantoms=False)).shape[0] < 450
