from dataclasses import replace

import numpy as np
import pytest

from models.vector_index import Neighbours
from tasks.retrieval.analyses.text_queries import Prompt, PromptSet, evaluate_prompts, zero_shot, zero_shot_by_pair
from tasks.retrieval.figures import text_queries
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD
from tests.support.figures import REAL
from tests.tasks.retrieval.figures.pictures import area, pixels, require_repeatable_and_watermarked

PROMPTS = PromptSet(
    "1",
    ("normal", "pneumonia"),
    (Prompt("a", "a normal chest X-ray of a child without any finding", 0), Prompt("b", "pneumonia", 1)),
    ((0, 1),),
)

FOUND = np.array([[0, 0, 1], [1, 0, 0]])


def drawn(name, **options):
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [20, 30])
    images, texts = generator.normal(size=(50, 4)) + labels[:, None], generator.normal(size=(2, 4))
    protocol = options.pop("protocol", None) or evaluate_prompts(texts, PROMPTS.labels, images, labels, [5])
    if name == "precision":
        return text_queries.prompt_precision(PROMPTS, protocol, k=5, **options)
    if name == "zero-shot":
        settings = {"samples": 50, "seed": 0}
        ensemble = zero_shot(texts, PROMPTS.labels, images, labels, **settings)
        pairs = zero_shot_by_pair(PROMPTS, texts, images, labels, **settings)
        return text_queries.zero_shot_overview(PROMPTS, ensemble, pairs, labels, **options)
    pictures = generator.integers(0, 255, (2, 3, 28, 28), dtype=np.uint8)
    neighbours = Neighbours(np.full((2, 3), 0.3, dtype=np.float32), np.arange(6).reshape(2, 3))
    found = options.pop("found", FOUND)
    return text_queries.prompt_gallery(
        PROMPTS, np.array([0, 1]), pictures, found, neighbours, title="Prompts", **options
    )


@pytest.mark.parametrize("name", ["precision", "gallery", "zero-shot"])
def test_a_figure_repeats_is_not_cut_off_and_phantoms_are_watermarked(name):
    require_repeatable_and_watermarked(lambda source: drawn(name, source=source), whole=True)


def test_frames_say_whether_an_image_has_the_prompt_s_class():
    mixed = pixels(drawn("gallery", source=REAL))
    # Two of three are right for the first prompt and one for the second: as many right as wrong.
    assert area(mixed, GOOD) == pytest.approx(area(mixed, BAD), rel=0.04)
    right = pixels(drawn("gallery", found=np.array([[0, 0, 0], [1, 1, 1]]), source=REAL))
    legend = area(right, BAD)
    assert area(right, GOOD) - legend == pytest.approx(2 * (area(mixed, GOOD) - legend), rel=0.04)


def test_bars_are_as_long_as_the_figures():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [20, 30])
    protocol = evaluate_prompts(np.eye(2, 4), PROMPTS.labels, generator.normal(size=(50, 4)), labels, [5])
    # A normal prompt with .25 and .3 against a pneumonia prompt with 1 and .8.
    result = replace(
        protocol.result, values={"precision_at_5": np.array([0.25, 1.0]), "average_precision": np.array([0.3, 0.8])}
    )
    image = pixels(drawn("precision", protocol=replace(protocol, result=result), source=REAL))
    lengths = [area(image, color) for color in CLASS_COLORS]
    # The dashes of chance and the grid hide a little of the long bars.
    assert lengths[0] / lengths[1] == pytest.approx(0.55 / 1.8, rel=0.1)
