import subprocess
import sys
import warnings

import numpy as np
import pytest

from models.errors import InputError
from tasks.retrieval.projection import project, tsne, umap

PROJECTIONS = [tsne, umap]


@pytest.fixture(scope="module")
def clusters():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    centres = generator.normal(size=(2, 16)) * 3
    return (centres[labels] + generator.normal(size=(60, 16))).astype(np.float32), labels


@pytest.mark.parametrize("project", PROJECTIONS)
def test_separate_clusters_stay_separate(project, clusters):
    vectors, labels = clusters
    points = project(vectors, 0)
    assert points.shape == (60, 2)
    assert points.dtype == np.float32
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.95


@pytest.mark.parametrize("project", PROJECTIONS)
def test_the_same_seed_gives_the_same_map_and_lengths_do_not_matter(project, clusters):
    vectors, _ = clusters
    first = project(vectors, 3)
    np.testing.assert_array_equal(first, project(vectors, 3))
    np.testing.assert_array_equal(first, project(vectors * 4, 3))  # exact: a power of two


def test_a_process_of_its_own_gives_the_same_maps_and_refuses_the_same(clusters):
    maps = project(clusters[0] * 3, 3)
    assert maps.keys() == {"tsne", "umap"}
    np.testing.assert_array_equal(maps["tsne"], tsne(clusters[0] * 3, 3))
    np.testing.assert_array_equal(maps["umap"], umap(clusters[0] * 3, 3))
    with pytest.raises(InputError, match="7 vectors"):
        project(np.eye(7), 0)


def test_another_seed_gives_another_map(clusters):
    assert not np.array_equal(umap(clusters[0], 0), umap(clusters[0], 1))


@pytest.mark.parametrize("project", PROJECTIONS)
@pytest.mark.parametrize("size", [8, 9, 17])
def test_few_vectors_are_enough(project, size):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        points = project(np.random.default_rng(size).normal(size=(size, 5)), 0)
    assert points.shape == (size, 2)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("project", PROJECTIONS)
def test_too_few_or_equal_vectors_are_refused(project):
    with pytest.raises(InputError, match="7 vectors"):
        project(np.eye(7), 0)
    with pytest.raises(InputError, match="the same"):
        project(np.arange(1, 21)[:, None] * np.ones((20, 4)), 0)


def test_umap_is_imported_only_when_needed():
    code = "import sys, tasks.retrieval.projection; sys.exit('umap' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
