import numpy as np
import pytest

from models.errors import InputError
from models.vector_index import normalize
from models.vector_index.normalization import finite_rows


def test_normalized_vectors_have_length_one_and_keep_their_direction():
    vectors = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    unit = normalize(vectors * 1e-12)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit.astype(float), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(vectors, axis=1, keepdims=True), vectors, rtol=1e-5)


def test_normalizing_survives_lengths_beyond_float32():
    np.testing.assert_allclose(normalize([[3e30, 4e30]]), [[0.6, 0.8]], rtol=1e-6)


def test_whole_numbers_are_normalized():
    np.testing.assert_allclose(normalize(np.array([[3, 4]], dtype=np.uint8)), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], "Vector 1 is all zeros"),
        ([[np.nan, 1.0], [1.0, 0.0]], "Vector 0 holds NaN or infinity"),
        ([[1.0, 0.0], [np.inf, 1.0]], "Vector 1 holds NaN or infinity"),
        ([1.0, 2.0], r"shape \(2,\)"),
    ],
)
def test_what_has_no_direction_is_refused(rows, sentence):
    with pytest.raises(InputError, match=sentence):
        normalize(rows)


def test_finite_rows_stay_as_they_are():
    rows = finite_rows([[0, 0], [3, 4]])
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0], [3, 4]]
    with pytest.raises(InputError, match="Vector 1 holds NaN"):
        finite_rows([[0.0, 1.0], [np.nan, 1.0]])
