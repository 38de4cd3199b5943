import numpy as np
import pytest

from tasks.shared.calibration_error import ECE_BINS, calibration_bins, calibration_error


def test_bins_are_of_equal_width_and_one_is_in_the_last():
    assert ECE_BINS == 15
    assert calibration_bins(np.array([0, 0.0666, 0.0667, 0.5, 0.9333, 0.9334, 1])).tolist() == [0, 0, 1, 7, 13, 14, 14]


def test_the_error_of_a_hand_made_set():
    probabilities, labels = np.array([0.01, 0.03, 0.5, 0.99]), np.array([0, 1, 1, 1])
    errors = calibration_error(probabilities, labels, np.array([[1, 1, 1, 1], [2, 0, 0, 2]]))
    # Bin 0 holds two, mean .02 and share .5; the others one each.
    assert errors == pytest.approx([(2 * 0.48 + 0.5 + 0.01) / 4, (2 * 0.01 + 2 * 0.01) / 4])


def test_flags_count_as_labels():
    probabilities, labels = np.array([0.2, 0.7, 0.9]), np.array([0, 1, 0])
    counts = np.ones((1, 3))
    assert calibration_error(probabilities, labels == 1, counts) == calibration_error(probabilities, labels, counts)
