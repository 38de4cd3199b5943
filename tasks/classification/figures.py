"""Figures of the classification stage; each function gives the bytes of one PNG."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve as sklearn_precision_recall_curve
from sklearn.metrics import roc_curve as sklearn_roc_curve

from models.classifier.epoch_metrics import EpochMetrics
from tasks.classification.metrics import confusion_counts, score
from tasks.classification.predictions import Predictions
from tasks.shared.calibration_error import ECE_BINS, calibration_bins
from tasks.shared.figures import (
    BAD,
    CLASS_COLORS,
    GOOD,
    MUTED,
    class_colors,
    image_sheet,
    new_figure,
    render_png,
    short_name,
    without_ticks,
)


def draw_figures(
    history: Sequence[EpochMetrics],
    best_epoch: int,
    images: NDArray[np.uint8],
    uncalibrated: NDArray[np.floating],
    predictions: Predictions,
    explanation: Mapping[str, NDArray[Any]],
    *,
    failures: int,
    phantoms: bool,
) -> dict[str, bytes]:
    """Draw all figures of the stage.

    Args:
        history: at least one epoch.
        best_epoch: number of the epoch whose weights are kept.
        images: of the test split, shape (images, height, width), or (images, height, width, 3) in colour; 0–255.
        uncalibrated: probabilities before temperature scaling, of the shape of those after it.
        predictions: of the test split.
        explanation: `shown`, positions of the images whose evidence is drawn, and `pairs`, their maps.
        failures: most errors to draw.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG by the name of the figure.
    """
    shown = explanation["shown"]
    explained = images[shown], explanation["pairs"], predictions.take(shown)
    return {
        "training_curves": training_curves(history, best_epoch, phantoms=phantoms),
        "confusion_matrix": confusion_matrix(predictions, phantoms=phantoms),
        "roc_curve": roc_curve(predictions, phantoms=phantoms),
        "precision_recall_curve": precision_recall_curve(predictions, phantoms=phantoms),
        "reliability_diagram": reliability_diagram(uncalibrated, predictions, phantoms=phantoms),
        "failure_cases": failure_cases(images, predictions, limit=failures, phantoms=phantoms),
        "grad_cam": grad_cam_montage(*explained, numbers=shown, phantoms=phantoms),
    }


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


def confusion_matrix(predictions: Predictions, *, phantoms: bool) -> bytes:
    """Draw the confusion matrix: images of each class by predicted class.

    Args:
        predictions: of the test split.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    class_names, threshold = predictions.class_names, predictions.threshold
    classes = len(class_names)
    counts = confusion_counts(predictions.predicted, predictions.labels, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = classes <= 3
    figure = new_figure(4.6, 4) if few else new_figure(2.6 + 0.62 * classes, 2 + 0.55 * classes)
    axis = figure.subplots()
    shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(classes):
        for column in range(classes):
            axis.text(
                column, row, f"{counts[row, column]}\n{shares[row, column]:.1%}", ha="center", va="center",
                fontsize=10 if few else 6.5, color="white" if shares[row, column] > 0.5 else "black",
            )  # fmt: skip
    names = [textwrap.fill(short_name(name, 44), 22) for name in class_names]
    axis.tick_params(labelsize=9 if few else 7)
    if few:
        axis.set_xticks(range(classes), names)
        axis.set_yticks(range(classes), names, rotation=90, va="center")
    else:
        axis.set_xticks(range(classes), names, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(classes), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    title = "confusion matrix" if threshold is None else f"confusion matrix at threshold {threshold:.3f}"
    axis.set_title(title, fontsize=10)
    figure.colorbar(shown, ax=axis, label="share of the true class", shrink=0.8)
    return render_png(figure, phantoms=phantoms)


def roc_curve(predictions: Predictions, *, phantoms: bool) -> bytes:
    """Draw the ROC curve with the operating point; of more than two classes one curve each, against the rest.

    Args:
        predictions: of the test split.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    threshold = predictions.threshold
    values = score(predictions.probabilities, predictions.labels, threshold)
    figure, axis = _square("1 − specificity", "sensitivity (recall)", classes=len(predictions.class_names))
    for name, color, of_class, positive in _drawn_classes(predictions):
        false_positive_rate, true_positive_rate, _ = sklearn_roc_curve(positive, of_class)
        area = score(of_class, positive, 0.5)["auc"]
        axis.plot(false_positive_rate, true_positive_rate, color=color, label=f"{name}AUC {area:.3f}")
    axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label="chance")
    if threshold is None:
        axis.set_title(f"ROC curves, each class against the rest: mean AUC {values['auc']:.3f}", fontsize=10)
    else:
        axis.plot(
            1 - values["specificity"], values["recall"], "o", color=CLASS_COLORS[1], label=f"threshold {threshold:.3f}"
        )
        axis.set_title("ROC curve", fontsize=10)
    _legend(figure, axis, threshold, "lower right")
    return render_png(figure, phantoms=phantoms)


def precision_recall_curve(predictions: Predictions, *, phantoms: bool) -> bytes:
    """Draw precision over recall with the operating point; of more than two classes one curve each, against the rest.

    Args:
        predictions: of the test split.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    threshold = predictions.threshold
    values = score(predictions.probabilities, predictions.labels, threshold)
    figure, axis = _square("recall", "precision", classes=len(predictions.class_names))
    for name, color, of_class, positive in _drawn_classes(predictions):
        precision, recall, _ = sklearn_precision_recall_curve(positive, of_class)
        area, chance = score(of_class, positive, 0.5)["average_precision"], float(positive.mean())
        # Steps, as average precision counts them: a straight line between two points would promise too much.
        axis.step(recall, precision, where="post", color=color, label=f"{name}AP {area:.3f}, chance {chance:.3f}")
        if threshold is not None:
            axis.axhline(chance, ls=":", color=MUTED)
    if threshold is None:
        mean = values["average_precision"]
        axis.set_title(f"precision–recall curves, each class against the rest: mean AP {mean:.3f}", fontsize=10)
    else:
        axis.plot(values["recall"], values["precision"], "o", color=CLASS_COLORS[1], label=f"threshold {threshold:.3f}")
        axis.set_title("precision–recall curve", fontsize=10)
    _legend(figure, axis, threshold, "lower left")
    return render_png(figure, phantoms=phantoms)


def reliability_diagram(uncalibrated: NDArray[np.floating], predictions: Predictions, *, phantoms: bool) -> bytes:
    """Draw how often what was said came true over how probable it was said to be, before and after temperature scaling.

    Of two classes that is the share of class 1 over its probability; of more the share of correct predictions over
    the probability of the predicted class.

    Args:
        uncalibrated: probabilities before the scaling, of the shape of those after it.
        predictions: with the probabilities after it.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    two, labels, class_names = uncalibrated.ndim == 1, predictions.labels, predictions.class_names
    scaled = (("before", uncalibrated, MUTED), ("after", predictions.probabilities, CLASS_COLORS[0]))
    figure = new_figure(5, 6)
    axis, histogram = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label="perfect")
    for name, probabilities, color in scaled:
        ece = score(probabilities, labels, 0.5 if two else None)["ece"]
        said = probabilities if two else probabilities.max(axis=1)
        came_true = labels if two else probabilities.argmax(axis=1) == labels
        bins = calibration_bins(said)
        counts = np.bincount(bins, minlength=ECE_BINS)
        used = counts > 0
        mean_probability = np.bincount(bins, said, ECE_BINS)[used] / counts[used]
        share = np.bincount(bins, came_true, ECE_BINS)[used] / counts[used]
        axis.plot(mean_probability, share, "o-", ms=4, color=color, label=f"{name} (ECE {ece:.3f})")
        histogram.stairs(counts, np.linspace(0, 1, ECE_BINS + 1), color=color, fill=name == "before", alpha=0.6, lw=2)
    axis.set_ylabel(f"observed share of {short_name(class_names[1])}" if two else "share of correct predictions")
    axis.set_title("reliability, before and after temperature scaling", fontsize=10)
    axis.legend(loc="upper left", fontsize=8)
    histogram.set_xlabel(f"probability of {class_names[1]}" if two else "probability of the predicted class")
    histogram.set_ylabel("images")
    for part in (axis, histogram):
        part.grid(alpha=0.3)
    return render_png(figure, phantoms=phantoms)


def failure_cases(images: NDArray[np.uint8], predictions: Predictions, *, limit: int = 24, phantoms: bool) -> bytes:
    """Draw the errors the classifier is surest of, each framed in the colour of its true class.

    Args:
        images: shape (images, height, width), or (images, height, width, 3) in colour; 0–255.
        predictions: of the test split.
        limit: most errors to draw.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes; a sentence in place of images where there is no error.
    """
    wrong, labels, class_names = predictions.errors, predictions.labels, predictions.class_names
    point = "" if predictions.threshold is None else f" at threshold {predictions.threshold:.3f}"
    chosen, each, predicted = wrong[:limit], predictions.by_class, predictions.predicted
    captions = [
        f"#{index}\ntruly {short_name(class_names[labels[index]], 17)} {each[index, labels[index]]:.2f}\n"
        f"predicted {short_name(class_names[predicted[index]], 17)} {each[index, predicted[index]]:.2f}"
        for index in chosen
    ]
    figure = image_sheet(
        images[chosen],
        captions,
        title=f"the surest {len(chosen)} of {len(wrong)} errors",
        empty=f"No errors among {len(labels)} images{point}.",
        frame_colors=[class_colors(len(class_names))[labels[index]] for index in chosen],
        cell=1.6,
    )
    return render_png(figure, phantoms=phantoms)


def grad_cam_montage(
    images: NDArray[np.uint8],
    maps: NDArray[np.floating],
    predictions: Predictions,
    *,
    numbers: NDArray[np.integer] | None = None,
    cases: int = 4,
    phantoms: bool,
) -> bytes:
    """Draw images beside what Grad-CAM says of them, one row for each kind of outcome.

    Args:
        images: shape (images, height, width), or (images, height, width, 3) in colour; 0–255.
        maps: of Grad-CAM in [0, 1], for the `explained_classes` of the predictions, shape (images, 2, height, width).
        predictions: of the test split.
        numbers: of the images in their split, shape (images,); None counts from 0.
        cases: most images per row, as in `explained_cases`.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    class_names, names, groups = predictions.class_names, predictions.outcome_names, predictions.outcomes
    two, each, targets = len(class_names) == 2, predictions.by_class, predictions.explained_classes
    figure = new_figure(1.12 * 3 * cases + 0.6, 1.48 * len(names) + 0.5)
    other = "the evidence for each class" if two else "for the predicted class, and for the true or next likeliest one"
    figure.suptitle(f"image, and Grad-CAM: {other}", fontsize=10)
    axes: Any = figure.subplots(len(names), 3 * cases, squeeze=False)
    for axis in axes.flat:
        without_ticks(axis)
        axis.spines[:].set_visible(False)
    for row, outcome in enumerate(names):
        chosen = np.flatnonzero(groups == row)[:cases]
        axes[row, 0].set_yticks([])
        axes[row, 0].yaxis.set_visible(True)
        axes[row, 0].set_ylabel(outcome, fontsize=9, color=BAD if row >= len(names) // 2 else GOOD)
        if not len(chosen):
            axes[row, 0].text(0.5, 0.5, "none", ha="center", va="center", fontsize=8, color=MUTED)
        for position, index in enumerate(chosen):
            plain, *overlaid = axes[row, 3 * position : 3 * position + 3]
            for axis in (plain, *overlaid):
                axis.imshow(images[index], cmap="gray", vmin=0, vmax=255)
            plain.set_title(f"#{index if numbers is None else numbers[index]}", fontsize=6.5)
            for axis, target, heat in zip(overlaid, targets[index], maps[index], strict=True):
                axis.imshow(heat, cmap="jet", alpha=0.35, vmin=0, vmax=1)
                axis.set_title(f"{short_name(class_names[target], 20)}\n{each[index, target]:.2f}", fontsize=6.5)
    return render_png(figure, phantoms=phantoms)


def _drawn_classes(predictions: Predictions) -> list[tuple[str, str, NDArray[np.floating], NDArray[np.int64]]]:
    """List what has a curve of its own: the start of its legend, its colour, its probabilities and its images."""
    probabilities, labels, class_names = predictions.probabilities, predictions.labels, predictions.class_names
    if probabilities.ndim == 1:
        return [("", CLASS_COLORS[0], probabilities, labels.astype(np.int64))]
    colors = class_colors(len(class_names))
    return [
        (f"{short_name(name)}: ", colors[number], probabilities[:, number], (labels == number).astype(np.int64))
        for number, name in enumerate(class_names)
    ]


def _square(horizontal: str, vertical: str, *, classes: int) -> tuple[Figure, Any]:
    figure = new_figure(4.6 if classes == 2 else 8.6, 4.6)
    axis = figure.subplots()
    axis.set(xlabel=horizontal, ylabel=vertical, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.grid(alpha=0.3)
    return figure, axis


def _legend(figure: Figure, axis: Any, threshold: float | None, place: str) -> None:
    if threshold is None:  # a line per class: beside the axes
        figure.legend(loc="outside right center", fontsize=7)
    else:
        axis.legend(loc=place, fontsize=8)
