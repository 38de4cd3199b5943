"""The study of the screening: its pictures, its ways to measure distance, its figure."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from docs.tools.foreign_pictures import harmless, to_choose_with, to_measure_with
from docs.tools.screening import COMBINED, Judged, Seen, _auroc, _seen, draw, ways
from tasks.data.phantoms import draw_phantoms
from tasks.shared.figures import SHOWN_WIDTH, Source

COUNT = 6


@pytest.fixture(scope="module")
def xrays():
    return draw_phantoms(28, 0).val_images[:COUNT]


@pytest.mark.parametrize("draw_kinds", [to_choose_with, harmless, to_measure_with])
def test_every_kind_is_drawn_from_its_seed(draw_kinds, xrays):
    kinds, again, other = (draw_kinds(xrays, COUNT, seed) for seed in (0, 0, 1))
    assert len(kinds) >= 6
    for kind, pictures in kinds.items():
        assert len(pictures) == COUNT
        assert all(picture.dtype == np.uint8 and picture.ndim in (2, 3) for picture in pictures)
        assert all(map(np.array_equal, pictures, again[kind])), kind
        assert _seen(pictures).images.shape == (COUNT, 28, 28)
    assert any(not all(map(np.array_equal, kinds[kind], other[kind])) for kind in kinds)


def test_what_is_measured_with_is_not_what_was_chosen_with(xrays):
    chosen, measured = to_choose_with(xrays, COUNT, 0), to_measure_with(xrays, COUNT, 0)
    assert set(chosen) & set(measured) == {"X-rays turned by 90°"}


def test_colour_is_seen_in_the_facts_and_grey_by_the_classifier():
    colors = np.zeros((40, 60, 3), np.uint8)
    colors[..., 0] = 200
    seen = _seen([colors, np.full((30, 30), 9, np.uint8)])
    assert [fact.coloured for fact in seen.facts] == [1, 0]
    assert (seen.facts[0].height, seen.facts[0].width) == (40, 60)
    assert np.unique(seen.images[0]).tolist() == [round(0.299 * 200)]


def test_ways_are_those_of_scikit_learn(xrays):
    train = draw_phantoms(28, 1).train_images[:80]
    random = np.random.default_rng(0)
    embeddings, rows = random.random((80, 40)).astype(np.float32), random.random((COUNT, 40)).astype(np.float32)
    found = {name: way(xrays, rows) for name, way in ways(train, embeddings).items()}
    for pair in COMBINED:
        assert set(pair) <= set(found)
    for k in (1, 5, 10):
        cosine = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(embeddings)
        expected = cosine.kneighbors(rows)[0].mean(axis=1)
        assert found[f"embedding, {k} nearest"] == pytest.approx(expected, abs=1e-5)
        pixels = NearestNeighbors(n_neighbors=k, metric="correlation", algorithm="brute").fit(train.reshape(80, -1))
        expected = pixels.kneighbors(xrays.reshape(COUNT, -1))[0].mean(axis=1)
        assert found[f"28 × 28 pixels, {k} nearest"] == pytest.approx(expected, abs=1e-5)
    components = PCA(32).fit(embeddings)
    back = components.inverse_transform(components.transform(rows))
    expected = np.linalg.norm(rows - back, axis=1) / np.linalg.norm(rows, axis=1)
    assert found["embedding, beyond 32 components"] == pytest.approx(expected, abs=1e-4)
    assert all(distances.shape == (COUNT,) for distances in found.values())


def test_auroc_counts_pairs():
    near, far = np.array([0.1, 0.4, 0.5]), np.array([0.4, 0.9])
    pairs = [(a < b) + 0.5 * (a == b) for a in near for b in far]
    assert _auroc(near, far) == pytest.approx(np.mean(pairs))


def test_the_figure_is_as_wide_as_all(xrays):
    distances = {"X-rays of test": np.linspace(0.3, 1, 9), "noise": np.full(9, 4.0), "mirrored": np.full(9, 0.9)}
    judged = {kind: Judged(0.5, float((some > 1).mean()), 1.0, some) for kind, some in distances.items()}
    png = draw(judged, {kind: Seen(xrays, []) for kind in judged}, Source("PneumoniaMNIST"))
    assert Image.open(io.BytesIO(png)).width == 2 * SHOWN_WIDTH
