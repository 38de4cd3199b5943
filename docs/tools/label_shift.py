"""What label-shift corrections would make of the seeds of the protocol: a diagnostic, for `docs/classification.md`.

    python -m docs.tools.label_shift 10 11 12 13 14

It is transductive: it looks at the scores of the whole test split before it decides on any image, so it is no result of
a classifier. Both methods take the looks of each class for unchanged. The seeds are those that `docs.tools.seeds` left.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from docs.tools.seeds import outputs_of
from tasks.classification.metrics import score
from tasks.shared.markdown import table

_SHOWN = ("accuracy", "balanced_accuracy", "recall", "specificity")


class Corrected(NamedTuple):
    """Test scores after a correction.

    Attributes:
        probabilities: of class 1 of each test image under the estimated prevalence, shape (images,).
        em: prevalence that expectation maximisation finds (Saerens et al., 2002).
        bbse: prevalence that black box shift estimation finds (Lipton et al., 2018), in [0, 1].
    """

    probabilities: NDArray[np.float64]
    em: float
    bbse: float


def correct(
    val_logits: NDArray[np.floating], val_labels: NDArray[np.integer], test_logits: NDArray[np.floating]
) -> Corrected:
    """Estimate the prevalence of test from its scores alone, and correct them by that of EM.

    The logits are first calibrated on validation by slope and bias, as EM needs (Alexandari et al., 2020).

    Args:
        val_logits: log-odds of class 1, shape (images,).
        val_labels: 0 or 1, shape (images,).
        test_logits: log-odds of class 1, shape (images,).

    Returns:
        The estimates and the corrected probabilities.
    """
    fitted = LogisticRegression(C=1e9).fit(val_logits[:, None], val_labels)
    calibrated = fitted.decision_function(test_logits[:, None])
    source = float(val_labels.mean())
    em, probabilities = source, expit(calibrated)
    for _ in range(10_000):
        before, em = em, float(probabilities.mean())
        probabilities = expit(calibrated + np.log(em / (1 - em)) - np.log(source / (1 - source)))
        if abs(em - before) < 1e-10:
            break
    called = fitted.predict(val_logits[:, None])
    hits, false_alarms = called[val_labels == 1].mean(), called[val_labels == 0].mean()
    bbse = (fitted.predict(test_logits[:, None]).mean() - false_alarms) / (hits - false_alarms)
    return Corrected(probabilities, em, float(np.clip(bbse, 0, 1)))


def diagnose(seeds: Sequence[int]) -> str:
    """Put the estimates and the corrected scores of some seeds in a table.

    Args:
        seeds: those that were scored.

    Returns:
        A Markdown table.
    """
    rows = []
    for seed in seeds:
        arrays = outputs_of(seed)
        labels = arrays["test_labels"]
        found = correct(arrays["val_logits"], arrays["val_labels"], arrays["test_logits"])
        scores = score(found.probabilities, labels, 0.5)
        rows.append((seed, float(labels.mean()), found.em, found.bbse, *(scores[name] for name in _SHOWN)))
    return table(["seed", "true prevalence", "by EM", "by BBSE", *_SHOWN], rows)


if __name__ == "__main__":
    sys.stdout.write(diagnose([int(word) for word in sys.argv[1:]]))
