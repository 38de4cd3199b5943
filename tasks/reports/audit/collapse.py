"""Template collapse: are the reports on different images the same text over and over?"""

import re
from collections import Counter
from collections.abc import Sequence

from tasks.shared.estimates import Estimate, share


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Compute distinct-n (Li et al., "A Diversity-Promoting Objective Function", NAACL 2016).

    Args:
        texts: one per report.
        n: length of the n-grams in words.

    Returns:
        Different n-grams over all n-grams, in (0, 1], case and punctuation apart; NaN without any. It falls with the
        number of texts, so compare equal numbers.
    """
    grams = Counter[tuple[str, ...]]()
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        grams.update(zip(*(words[start:] for start in range(n)), strict=False))
    return len(grams) / grams.total() if grams else float("nan")


def normalise(text: str) -> str:
    """Reduce a text to its template: small letters, single spaces, and every number the same.

    Args:
        text: what a report says.

    Returns:
        The reduced text.
    """
    return " ".join(re.sub(r"\.?\d+(?:[.,]\d+)*", "0", text.lower()).split())


def duplicates(texts: Sequence[str]) -> tuple[Estimate, int]:
    """Count texts that are one template.

    Args:
        texts: one per report.

    Returns:
        The share of texts that equal another once normalised, and the size of the largest group of equal ones.
    """
    groups = Counter(normalise(text) for text in texts)
    return share(groups[normalise(text)] > 1 for text in texts), max(groups.values(), default=0)


def mean_similarity(texts: Sequence[str]) -> float:
    """Compute the mean cosine similarity of all pairs of texts, as TF-IDF vectors over these texts.

    Args:
        texts: one per report.

    Returns:
        The mean, in [0, 1]; 1 where all texts are the same; NaN with fewer than two texts or without any words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) < 2 or not any(re.search(r"\w\w", text) for text in texts):
        return float("nan")
    vectors = TfidfVectorizer().fit_transform(normalise(text) for text in texts)
    similarity = (vectors @ vectors.T).toarray()
    pairs = len(texts) * (len(texts) - 1)
    return float((similarity.sum() - similarity.trace()) / pairs)
