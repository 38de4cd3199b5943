import itertools
import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from tasks.reports.audit.collapse import distinct_n, duplicates, mean_similarity, normalise

TEXTS = ["The lungs are clear.", "the LUNGS are hazy", "Clear."]


def test_distinct_words_and_pairs_by_hand():
    # the lungs are clear | the lungs are hazy | clear: 9 words, 5 different; 6 pairs, 4 different
    assert distinct_n(TEXTS, 1) == pytest.approx(5 / 9)
    assert distinct_n(TEXTS, 2) == pytest.approx(4 / 6)
    assert math.isnan(distinct_n(["word", ""], 2))
    assert math.isnan(distinct_n([], 1))


def test_pairs_do_not_cross_from_one_text_to_the_next():
    assert distinct_n(["a b", "b a"], 2) == 1
    assert distinct_n(["a b", "a b"], 2) == 0.5


def test_a_template_is_the_text_without_its_numbers_and_spaces():
    assert normalise("  Probability 0.93,\n threshold .5  (CASE 1,204)") == "probability 0, threshold 0 (case 0)"
    assert normalise("at 12.5 mm") == normalise("At  7 mm")


def test_duplicates_by_hand():
    rate, largest = duplicates(["p = 0.9", "p = 0.1", "clear", " P =  .3", "clear", "hazy", "p = 12"])
    assert (rate.value, rate.n) == (6 / 7, 7)
    assert largest == 4
    assert duplicates(["a", "b"])[0].value == 0
    assert duplicates(["a", "b"])[1] == 1
    assert duplicates([])[1] == 0


def test_similarity_is_the_mean_over_all_pairs():
    vectors = TfidfVectorizer().fit_transform([text.lower() for text in TEXTS])
    pairs = [cosine_similarity(vectors[i], vectors[j])[0, 0] for i, j in itertools.combinations(range(3), 2)]
    assert mean_similarity(TEXTS) == pytest.approx(np.mean(pairs))


def test_similarity_at_its_ends():
    assert mean_similarity(["lungs are clear 1", "Lungs are clear 2", "lungs are CLEAR 3"]) == pytest.approx(1)
    assert mean_similarity(["lungs clear", "chest hazy"]) == 0
    assert mean_similarity(["lungs clear", ""]) == 0
    assert math.isnan(mean_similarity(["lungs clear"]))
    assert math.isnan(mean_similarity(["", " ?"]))
