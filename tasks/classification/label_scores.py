"""Scores of a classifier whose images have several labels each, or none: every label is a question of two classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.markdown import escape
from tasks.classification.metrics import METRICS, bootstrap_scores, score
from tasks.records.classification import EvaluationRecord
from tasks.shared.bootstrap import interval
from tasks.shared.figures import CLASS_COLORS, MUTED, Source, new_figure, render_png, short_name
from tasks.shared.markdown import document, picture, table
from tasks.shared.metric_names import class_metric

THRESHOLD = 0.5
"""Probability from which a label is predicted, fixed beforehand, as in MedMNIST's evaluator (which asks for more than
it; a calibrated probability is hardly ever exactly one half)."""
SEED = 0  # of the bootstrap
PICTURE = "label_auc"


def score_labels(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    label_names: Sequence[str],
    *,
    samples: int,
) -> dict[str, float]:
    """Score predictions, with 95 % percentile bootstrap intervals over the images.

    Args:
        probabilities: of each label, shape (images, labels).
        labels: which an image has, 0 or 1, of the same shape, each there and not there at least once.
        label_names: by column.
        samples: number of bootstrap samples.

    Returns:
        Each of `METRICS`, the mean over the labels of what it is for each against not having it, and `auc_<label>`, the
        AUC of each; under the name with `_ci_low` and `_ci_high` the bounds of its interval. A sample that lacks a
        label counts for the others.

    Raises:
        InputError: as `metrics.score`.
    """
    columns = range(labels.shape[1])
    single = [score(probabilities[:, column], labels[:, column], THRESHOLD) for column in columns]
    # Equal seeds give paired samples: each resamples images, with all of their labels.
    resampled = [
        bootstrap_scores(probabilities[:, column], labels[:, column], THRESHOLD, samples=samples, seed=SEED)
        for column in columns
    ]
    found: dict[str, float] = {}
    for name in METRICS:
        found[name] = float(np.mean([scores[name] for scores in single]))
        drawn = np.array([scores[name] for scores in resampled])
        known = ~np.isnan(drawn)
        counted = known.sum(axis=0)
        means = np.where(counted > 0, np.nansum(drawn, axis=0) / np.maximum(counted, 1), np.nan)
        found[f"{name}_ci_low"], found[f"{name}_ci_high"] = interval(means)
    for column, label in enumerate(label_names):
        name = class_metric("auc", label)
        found[name] = single[column]["auc"]
        found[f"{name}_ci_low"], found[f"{name}_ci_high"] = interval(resampled[column]["auc"])
    return found


def label_bars(metrics: Mapping[str, float], label_names: Sequence[str], *, source: Source) -> bytes:
    """Draw the AUC of each label on test, with its interval.

    Args:
        metrics: of the evaluation, `test/auc_<label>` among them.
        label_names: by column.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    names = [f"test/{class_metric('auc', label)}" for label in label_names]
    figure = new_figure(0.22 * len(names) + 0.5)
    axis = figure.subplots()
    places = np.arange(len(names))
    for place, name in zip(places, names, strict=True):
        axis.plot([metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"]], [place, place], color=CLASS_COLORS[0], lw=2)
        axis.plot(metrics[name], place, "o", color=CLASS_COLORS[0], ms=5)
    axis.axvline(0.5, color=MUTED, ls="--", lw=1)
    axis.set_yticks(places, [short_name(label) for label in label_names])
    axis.invert_yaxis()
    axis.set_xlabel("AUC, with its 95 % interval; 0.5 is guessing")
    axis.grid(alpha=0.3)
    return render_png(figure, source, title="How well each label is told from its absence", shown="test")


def label_report(
    *,
    label_names: Sequence[str],
    protocol: Sequence[tuple[str, str]],
    counts: Mapping[str, NDArray[np.integer]],
    images: Mapping[str, int],
    evaluation: EvaluationRecord,
    left_out: str,
    audit: str,
    phantoms: bool,
) -> str:
    """Write the report of the stage.

    Args:
        label_names: by column.
        protocol: what was decided and how, as `summary.protocol` says it.
        counts: images that have each label, by split.
        images: all images, by split.
        evaluation: the scores.
        left_out: why the other parts of the stage are, in a sentence.
        audit: the data audit as markdown.
        phantoms: whether the images are drawn.

    Returns:
        Markdown.
    """
    test, validation = evaluation.metrics, evaluation.validation

    def row(title: str, name: str) -> tuple[object, ...]:
        low, high = test[f"test/{name}_ci_low"], test[f"test/{name}_ci_high"]
        return title, test[f"test/{name}"], f"{low:.3f} – {high:.3f}", validation[name]

    columns = ("test", "95 % interval", "validation")
    means = table(("mean over the labels", *columns), [row(name.replace("_", " "), name) for name in METRICS])
    each = table(("AUC of the label", *columns), [row(label, class_metric("auc", label)) for label in label_names])
    data: list[tuple[object, ...]] = [
        (label, *(f"{found[place]} ({found[place] / images[split]:.1%})" for split, found in counts.items()))
        for place, label in enumerate(label_names)
    ]
    data.append(("all images", *images.values()))
    said = (
        f"An image may have several of the {len(label_names)} labels, or none. Each is scored against its absence, and "
        f"predicted from a probability of {THRESHOLD:g} on; AUC and accuracy are those of MedMNIST's evaluator. "
        "Where few images have a label, nearly all are called correctly without it: read AUC and recall, not accuracy."
    )
    sections = [
        ("Test scores", f"{escape(said)}\n\n{means}"),
        ("Label by label", picture(PICTURE, "The AUC of each label on test: at the dashed line it is guessed.") + each),
        ("What is left out", escape(left_out)),
        ("Protocol", picture("training_curves", "The training over its epochs.") + table(("decided", "how"), protocol)),
        ("Data", table(("label", *counts), data)),
        ("Data audit", audit),
    ]
    return document("Classification", sections, phantoms=phantoms)
