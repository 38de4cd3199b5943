"""How well each rule of the operating point does where it was not chosen, on validation alone: for `docs/protocol.md`.

    python -m docs.tools.threshold_rules 10 11 12 13 14

The seeds are those that `docs.tools.seeds` left. Half of the validation images of each class choose the threshold, the
others score it, and the other way about, many times. Nothing of the test split is read.
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from docs.tools.seeds import outputs_of
from tasks.classification.metrics import score
from tasks.classification.trust.calibration import RULES, calibrated_probabilities, choose_threshold, fit_temperature
from tasks.shared.markdown import table

DIVISIONS = 100


def cross_fit(
    logits: NDArray[np.floating], labels: NDArray[np.integer], divisions: int = DIVISIONS
) -> dict[str, tuple[float, float]]:
    """Score every rule on images that it did not see.

    Args:
        logits: of validation, the log-odds of class 1, shape (images,).
        labels: 0 or 1, shape (images,).
        divisions: how often the images are divided in halves.

    Returns:
        By rule, the mean balanced accuracy on the other half, and the standard deviation of the threshold's log-odds.
    """
    generator = np.random.default_rng(0)
    probabilities = calibrated_probabilities(logits, fit_temperature(logits, labels))
    merits: dict[str, list[float]] = {rule: [] for rule in RULES}
    places: dict[str, list[float]] = {rule: [] for rule in RULES}
    for _ in range(divisions):
        first = np.zeros(len(labels), bool)
        for label in (0, 1):
            drawn = generator.permutation(np.flatnonzero(labels == label))
            first[drawn[: len(drawn) // 2]] = True
        for seen in (first, ~first):
            for rule in RULES:
                threshold = choose_threshold(probabilities[seen], labels[seen], rule)
                merits[rule].append(score(probabilities[~seen], labels[~seen], threshold)["balanced_accuracy"])
                places[rule].append(float(logit(threshold)))
    return {rule: (float(np.mean(merits[rule])), float(np.std(places[rule]))) for rule in RULES}


def compare(seeds: Sequence[int]) -> str:
    """Put the means over some seeds in a table, the best rule first.

    Args:
        seeds: those that were scored.

    Returns:
        A Markdown table.
    """
    found = [cross_fit(arrays["val_logits"], arrays["val_labels"]) for arrays in map(outputs_of, seeds)]
    means = {rule: np.mean([each[rule] for each in found], axis=0) for rule in RULES}
    ranked = sorted(RULES, key=lambda rule: -means[rule][0])
    rows = [(RULES[rule].description, f"{means[rule][0]:.4f}", f"{means[rule][1]:.2f}") for rule in ranked]
    return table(["rule", "balanced accuracy, held out", "sd of the threshold, log-odds"], rows)


if __name__ == "__main__":
    sys.stdout.write(compare([int(word) for word in sys.argv[1:]]))
