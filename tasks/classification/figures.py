"""Figures of the classification stage; each function gives the bytes of one PNG."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve as sklearn_precision_recall_curve
from sklearn.metrics import roc_curve as sklearn_roc_curve

from models.training import EpochMetrics
from tasks.classification.metrics import score
from tasks.shared.calibration_error import ECE_BINS, calibration_bins
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED, image_grid, new_figure, render_png

CLASS_NAMES = ("normal", "pneumonia")
OUTCOMES = ("true positive", "true negative", "false positive", "false negative")


def training_curves(history: Sequence[EpochMetrics], best_epoch: int, *, phantoms: bool) -> bytes:
    """Draw losses, validation AUC and learning rate over the epochs.

    Args:
        history: at least one epoch.
        best_epoch: number of the epoch whose weights are kept; marked.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(11, 3.3)
    axes: Any = figure.subplots(1, 3)
    epochs = [entry.epoch for entry in history]
    axes[0].plot(
        epochs, [entry.train_loss for entry in history], "o-", ms=3, color=MUTED, label="train (varied images)"
    )
    axes[0].plot(
        epochs, [entry.val_loss for entry in history], "o-", ms=3, color=CLASS_COLORS[0], label="validation (balanced)"
    )
    axes[0].set_ylim(bottom=0)
    axes[0].set_title("loss", fontsize=10)
    axes[1].plot(epochs, [entry.val_auc for entry in history], "o-", ms=3, color=CLASS_COLORS[0])
    axes[1].set_title("validation AUC", fontsize=10)
    axes[2].plot(epochs, [entry.learning_rate for entry in history], "o-", ms=3, color=MUTED)
    axes[2].yaxis.set_major_formatter("{x:.2g}")
    axes[2].set_title("learning rate at the end of the epoch", fontsize=10)
    for axis in axes:
        axis.axvline(best_epoch, color=GOOD, ls="--", lw=1, label=f"kept: epoch {best_epoch}")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return render_png(figure, phantoms=phantoms)


def confusion_matrix(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float, *, phantoms: bool
) -> bytes:
    """Draw how many images of each class are called what.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    counts = np.zeros((2, 2), np.int64)
    np.add.at(counts, (labels, (probabilities >= threshold).astype(np.int64)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(4.6, 4)
    axis = figure.subplots()
    shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            axis.text(
                column, row, f"{counts[row, column]}\n{shares[row, column]:.1%}", ha="center", va="center",
                color="white" if shares[row, column] > 0.5 else "black",
            )  # fmt: skip
    axis.set_xticks([0, 1], CLASS_NAMES)
    axis.set_yticks([0, 1], CLASS_NAMES, rotation=90, va="center")
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_title(f"confusion matrix at threshold {threshold:.3f}", fontsize=10)
    figure.colorbar(shown, ax=axis, label="share of the true class", shrink=0.8)
    return render_png(figure, phantoms=phantoms)


def roc_curve(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float, *, phantoms: bool
) -> bytes:
    """Draw the ROC curve with the operating point.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    values = score(probabilities, labels, threshold)
    false_positive_rate, true_positive_rate, _ = sklearn_roc_curve(labels, probabilities)
    figure, axis = _square("1 − specificity", "sensitivity (recall)")
    axis.plot(false_positive_rate, true_positive_rate, color=CLASS_COLORS[0], label=f"AUC {values['auc']:.3f}")
    axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label="chance")
    axis.plot(
        1 - values["specificity"], values["recall"], "o", color=CLASS_COLORS[1], label=f"threshold {threshold:.3f}"
    )
    axis.set_title("ROC curve", fontsize=10)
    axis.legend(loc="lower right", fontsize=8)
    return render_png(figure, phantoms=phantoms)


def precision_recall_curve(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float, *, phantoms: bool
) -> bytes:
    """Draw precision over recall with the operating point.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    values = score(probabilities, labels, threshold)
    precision, recall, _ = sklearn_precision_recall_curve(labels, probabilities)
    figure, axis = _square("recall", "precision")
    # Steps, as average precision counts them: a straight line between two points would promise too much.
    axis.step(recall, precision, where="post", color=CLASS_COLORS[0], label=f"AP {values['average_precision']:.3f}")
    axis.axhline(float(labels.mean()), ls=":", color=MUTED, label=f"chance {labels.mean():.3f}")
    axis.plot(values["recall"], values["precision"], "o", color=CLASS_COLORS[1], label=f"threshold {threshold:.3f}")
    axis.set_title("precision–recall curve", fontsize=10)
    axis.legend(loc="lower left", fontsize=8)
    return render_png(figure, phantoms=phantoms)


def reliability_diagram(
    before: NDArray[np.floating], after: NDArray[np.floating], labels: NDArray[np.integer], *, phantoms: bool
) -> bytes:
    """Draw the observed share of pneumonia over its probability, before and after temperature scaling.

    Args:
        before: uncalibrated probabilities of pneumonia, shape (images,).
        after: calibrated ones, shape (images,).
        labels: 0 or 1, shape (images,).
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(5, 6)
    axis, histogram = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label="perfect")
    for name, probabilities, color in (("before", before, MUTED), ("after", after, CLASS_COLORS[0])):
        bins = calibration_bins(probabilities)
        counts = np.bincount(bins, minlength=ECE_BINS)
        used = counts > 0
        mean_probability = np.bincount(bins, probabilities, ECE_BINS)[used] / counts[used]
        share = np.bincount(bins, labels, ECE_BINS)[used] / counts[used]
        ece = score(probabilities, labels, 0.5)["ece"]
        axis.plot(mean_probability, share, "o-", ms=4, color=color, label=f"{name} (ECE {ece:.3f})")
        histogram.stairs(counts, np.linspace(0, 1, ECE_BINS + 1), color=color, fill=name == "before", alpha=0.6, lw=2)
    axis.set_ylabel("observed share of pneumonia")
    axis.set_title("reliability, before and after temperature scaling", fontsize=10)
    axis.legend(loc="upper left", fontsize=8)
    histogram.set_xlabel("probability of pneumonia")
    histogram.set_ylabel("images")
    for part in (axis, histogram):
        part.grid(alpha=0.3)
    return render_png(figure, phantoms=phantoms)


def failure_cases(
    images: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    threshold: float,
    *,
    limit: int = 24,
    phantoms: bool,
) -> bytes:
    """Draw the errors the classifier is surest of.

    Args:
        images: shape (images, height, width), 0–255.
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.
        limit: most errors to draw.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes; a sentence in place of images where there is no error.
    """
    wrong = most_confident_errors(probabilities, labels, threshold)
    if not len(wrong):
        figure = new_figure(6, 1.6)
        figure.text(0.5, 0.5, f"No errors among {len(labels)} images at threshold {threshold:.3f}.", ha="center")
        return render_png(figure, phantoms=phantoms)
    chosen = wrong[:limit]
    figure = image_grid(
        images[chosen],
        [f"#{index}  p = {probabilities[index]:.2f}\ntruly {CLASS_NAMES[labels[index]]}" for index in chosen],
        columns=min(8, max(4, len(chosen))),
        title=f"the surest {len(chosen)} of {len(wrong)} errors",
        frame_colors=[CLASS_COLORS[labels[index]] for index in chosen],
    )
    return render_png(figure, phantoms=phantoms)


def most_confident_errors(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float
) -> NDArray[np.int64]:
    """Find the images that are called the wrong class, the surest error first.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.

    Returns:
        Positions of the images, sorted by the probability given to the wrong class; ties by position.
    """
    wrong = np.flatnonzero((probabilities >= threshold) != (labels == 1))
    sureness = np.where(labels[wrong] == 1, 1 - probabilities[wrong], probabilities[wrong])
    return wrong[np.argsort(-sureness, kind="stable")]


def grad_cam_montage(
    images: NDArray[np.uint8],
    maps: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    threshold: float,
    *,
    cases: int = 4,
    phantoms: bool,
) -> bytes:
    """Draw images beside what Grad-CAM says of them, one row for each kind of outcome.

    Args:
        images: shape (images, height, width), 0–255.
        maps: of Grad-CAM in [0, 1], the images' shape.
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.
        cases: most images a row; the first of each outcome are taken.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    groups = outcomes(probabilities, labels, threshold)
    figure = new_figure(1.3 * 2 * cases + 0.6, 1.62 * len(OUTCOMES) + 0.5)
    figure.suptitle("image and Grad-CAM: where the evidence for pneumonia lies", fontsize=10)
    axes: Any = figure.subplots(len(OUTCOMES), 2 * cases, squeeze=False)
    for row, outcome in enumerate(OUTCOMES):
        chosen = np.flatnonzero(groups == row)[:cases]
        for axis in axes[row]:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(outcome, fontsize=9, color=GOOD if row < 2 else BAD)
        if not len(chosen):
            axes[row, 0].text(0.5, 0.5, "none", ha="center", va="center", fontsize=8, color=MUTED)
        for position, index in enumerate(chosen):
            plain, overlaid = axes[row, 2 * position], axes[row, 2 * position + 1]
            for axis in (plain, overlaid):
                axis.imshow(images[index], cmap="gray", vmin=0, vmax=255)
            overlaid.imshow(maps[index], cmap="jet", alpha=0.35, vmin=0, vmax=1)
            plain.set_title(f"#{index}", fontsize=7)
            overlaid.set_title(f"p = {probabilities[index]:.2f}", fontsize=7)
    return render_png(figure, phantoms=phantoms)


def outcomes(probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float) -> NDArray[np.int64]:
    """Name the kind of outcome of every image.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.

    Returns:
        Positions in `OUTCOMES`, shape (images,).
    """
    predicted = probabilities >= threshold
    return np.select([predicted & (labels == 1), ~predicted & (labels == 0), predicted & (labels == 0)], [0, 1, 2], 3)


def _square(horizontal: str, vertical: str) -> tuple[Figure, Any]:
    figure = new_figure(4.6, 4.6)
    axis = figure.subplots()
    axis.set(xlabel=horizontal, ylabel=vertical, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.grid(alpha=0.3)
    return figure, axis
