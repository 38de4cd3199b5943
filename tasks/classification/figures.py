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
from tasks.records.classification import ProbeRecord
from tasks.shared.calibration_error import ECE_BINS, calibration_bins
from tasks.shared.figures import (
    BAD,
    CLASS_COLORS,
    GOOD,
    MOST_COLUMNS,
    MUTED,
    SMALL,
    TEXT,
    Sheet,
    Source,
    caption_letters,
    cell_width,
    class_colors,
    column_edge,
    frames,
    image_grid,
    new_figure,
    render_png,
    sentence,
    short_name,
)

_CASES_A_ROW = 2  # of a montage: an image and two maps each


def draw_figures(
    history: Sequence[EpochMetrics],
    best_epoch: int,
    images: NDArray[np.uint8],
    uncalibrated: NDArray[np.floating],
    predictions: Predictions,
    explanation: Mapping[str, NDArray[Any]],
    *,
    failures: int,
    source: Source,
    probe: ProbeRecord | None = None,
) -> dict[str, bytes]:
    """Draw all figures of the stage.

    Args:
        history: at least one epoch; none of a probe.
        best_epoch: number of the epoch whose weights are kept.
        images: of the test split, shape (images, height, width), or (images, height, width, 3) in colour; 0–255.
        uncalibrated: probabilities before temperature scaling, of the shape of those after it.
        predictions: of the test split.
        explanation: `shown`, positions of the images whose evidence is drawn, and `pairs`, their maps.
        failures: most errors to draw.
        source: what it is made from.
        probe: of a probe, how it was fitted.

    Returns:
        PNG by the name of the figure.
    """
    shown = explanation["shown"]
    explained = images[shown], explanation["pairs"], predictions.take(shown)
    trained = (
        {"training_curves": training_curves(history, best_epoch, source=source)}
        if probe is None
        else {"regularisation": regularisation_curves(probe, source=source)}
    )
    return trained | {
        "confusion_matrix": confusion_matrix(predictions, source=source),
        "roc_curve": roc_curve(predictions, source=source),
        "precision_recall_curve": precision_recall_curve(predictions, source=source),
        "reliability_diagram": reliability_diagram(uncalibrated, predictions, source=source),
        "failure_cases": failure_cases(images, predictions, limit=failures, source=source),
        "grad_cam": grad_cam_montage(*explained, numbers=shown, source=source),
    }


def training_curves(history: Sequence[EpochMetrics], best_epoch: int, *, source: Source) -> bytes:
    """Draw losses, validation AUC and learning rate over the epochs.

    Args:
        history: at least one epoch.
        best_epoch: number of the epoch whose weights are kept; marked.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(2.3)
    axes: Any = figure.subplots(1, 3)
    epochs = [entry.epoch for entry in history]
    train, validation = ("train, varied images", MUTED), ("validation, classes balanced", CLASS_COLORS[0])
    panels = (
        ("loss", [([each.train_loss for each in history], *train), ([each.val_loss for each in history], *validation)]),
        ("validation AUC", [([entry.val_auc for entry in history], *validation)]),
        ("learning rate, end of epoch", [([entry.learning_rate for entry in history], "learning rate", "black")]),
    )  # fmt: skip
    for axis, (title, lines) in zip(axes, panels, strict=True):
        for values, name, color in lines:
            axis.plot(epochs, values, "o-", ms=3, color=color, label=name)
        axis.axvline(best_epoch, color=GOOD, ls="--", lw=1, label=f"kept: epoch {best_epoch}")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set(title=title, xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        axis.grid(alpha=0.3)
    axes[0].set_ylim(bottom=0)
    axes[2].yaxis.set_major_formatter("{x:.2g}")
    return render_png(
        figure, source, title="Training: loss, validation AUC and learning rate over the epochs", shown="train and val",
        legend=axes[0].get_legend_handles_labels()[0],
    )  # fmt: skip


def regularisation_curves(probe: ProbeRecord, *, source: Source) -> bytes:
    """Draw loss and AUC on validation over the strength of a probe's regularisation.

    Args:
        probe: how it was fitted.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(2.3)
    axes: Any = figure.subplots(1, 2)
    strengths, losses, areas = zip(*probe.candidates, strict=True)
    panels = ("log-loss, classes balanced", losses), ("AUC", areas)
    for axis, (title, values) in zip(axes, panels, strict=True):
        axis.plot(strengths, values, "o-", ms=3, color=CLASS_COLORS[0], label="validation")
        axis.axvline(probe.strength, color=GOOD, ls="--", lw=1, label=f"chosen: C = {probe.strength:.2g}")
        axis.set(title=title, xlabel="C, weaker regularisation to the right", xscale="log")
        axis.grid(alpha=0.3)
    return render_png(
        figure, source, title="Probe: loss and AUC by the strength of the regularisation", shown="val",
        legend=axes[0].get_legend_handles_labels()[0],
    )  # fmt: skip


def confusion_matrix(predictions: Predictions, *, source: Source) -> bytes:
    """Draw the confusion matrix: images of each class by predicted class.

    Args:
        predictions: of the test split.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    class_names, threshold = predictions.class_names, predictions.threshold
    classes = len(class_names)
    counts = confusion_counts(predictions.predicted, predictions.labels, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = classes <= 3
    figure = new_figure(3.0 if few else min(1.6 + 0.5 * classes, 8.0))
    axis = figure.subplots()
    drawn = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(classes):
        for column in range(classes):
            axis.text(
                column, row, f"{counts[row, column]}\n{shares[row, column]:.1%}", ha="center", va="center",
                fontsize=TEXT + 1 if few else SMALL, color="white" if shares[row, column] > 0.5 else "black",
            )  # fmt: skip
    names = [textwrap.fill(short_name(name, 44), 22) for name in class_names]
    if few:
        axis.set_xticks(range(classes), names)
        axis.set_yticks(range(classes), names, rotation=90, va="center")
    else:
        axis.set_xticks(range(classes), names, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(classes), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    figure.set_layout_engine("compressed")  # which keeps the bar beside the square
    figure.colorbar(drawn, ax=axis, label="share of the true class", shrink=0.9)
    point = "" if threshold is None else f" at threshold {threshold:.3f}"
    return render_png(
        figure, source, title=f"Confusion matrix{point}: test images by true and predicted class",
        shown=_test(predictions),
    )  # fmt: skip


def roc_curve(predictions: Predictions, *, source: Source) -> bytes:
    """Draw the ROC curve with the operating point; of more than two classes one curve each, against the rest.

    Args:
        predictions: of the test split.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    threshold = predictions.threshold
    values = score(predictions.probabilities, predictions.labels, threshold)
    figure, axis = _square("1 − specificity", "sensitivity (recall)")
    for name, color, of_class, positive in _drawn_classes(predictions):
        false_positive_rate, true_positive_rate, _ = sklearn_roc_curve(positive, of_class)
        area = score(of_class, positive, 0.5)["auc"]
        axis.plot(false_positive_rate, true_positive_rate, color=color, label=f"{name}AUC {area:.3f}")
    axis.plot([0, 1], [0, 1], ls=":", color=MUTED, label="chance")
    if threshold is None:
        title = f"ROC curves, each class against the rest: mean AUC {values['auc']:.3f}"
    else:
        axis.plot(
            1 - values["specificity"], values["recall"], "o", color=CLASS_COLORS[1], label=f"threshold {threshold:.3f}"
        )
        title = f"ROC curve: AUC {values['auc']:.3f}, and the operating point"
    return _with_lines(figure, axis, predictions, source, title)


def precision_recall_curve(predictions: Predictions, *, source: Source) -> bytes:
    """Draw precision over recall with the operating point; of more than two classes one curve each, against the rest.

    Args:
        predictions: of the test split.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    threshold = predictions.threshold
    values = score(predictions.probabilities, predictions.labels, threshold)
    figure, axis = _square("recall", "precision")
    for name, color, of_class, positive in _drawn_classes(predictions):
        precision, recall, _ = sklearn_precision_recall_curve(positive, of_class)
        area, chance = score(of_class, positive, 0.5)["average_precision"], float(positive.mean())
        # Steps, as average precision counts them: a straight line between two points would promise too much.
        axis.step(recall, precision, where="post", color=color, label=f"{name}AP {area:.3f}, chance {chance:.3f}")
        if threshold is not None:
            axis.axhline(chance, ls=":", color=MUTED)
    if threshold is None:
        mean = values["average_precision"]
        title = f"Precision–recall curves, each class against the rest: mean average precision {mean:.3f}"
    else:
        axis.plot(values["recall"], values["precision"], "o", color=CLASS_COLORS[1], label=f"threshold {threshold:.3f}")
        title = f"Precision–recall curve: average precision {values['average_precision']:.3f}, and the operating point"
    return _with_lines(figure, axis, predictions, source, title)


def reliability_diagram(uncalibrated: NDArray[np.floating], predictions: Predictions, *, source: Source) -> bytes:
    """Draw how often what was said came true over how probable it was said to be, before and after temperature scaling.

    Of two classes that is the share of class 1 over its probability; of more the share of correct predictions over
    the probability of the predicted class.

    Args:
        uncalibrated: probabilities before the scaling, of the shape of those after it.
        predictions: with the probabilities after it.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    two, labels, class_names = uncalibrated.ndim == 1, predictions.labels, predictions.class_names
    scaled = (("before", uncalibrated, MUTED), ("after", predictions.probabilities, CLASS_COLORS[0]))
    figure = new_figure(2.9)
    axis, histogram = figure.subplots(1, 2, width_ratios=[1.1, 1])
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
    probability = f"probability of {short_name(class_names[1])}" if two else "probability of the predicted class"
    axis.set_ylabel(f"observed share of {short_name(class_names[1])}" if two else "share of correct predictions")
    axis.set(title="observed over predicted", xlabel=probability)
    histogram.set(title="how often each probability is given", xlabel=probability, ylabel="images")
    for part in (axis, histogram):
        part.grid(alpha=0.3)
    return render_png(
        figure, source, title="Reliability: do probabilities hold, before and after temperature scaling?",
        shown=_test(predictions), legend=axis.get_legend_handles_labels()[0],
    )  # fmt: skip


def failure_cases(images: NDArray[np.uint8], predictions: Predictions, *, limit: int = 24, source: Source) -> bytes:
    """Draw the errors the classifier is surest of, each framed in the colour of its true class.

    Args:
        images: shape (images, height, width), or (images, height, width, 3) in colour; 0–255.
        predictions: of the test split.
        limit: most errors to draw.
        source: what it is made from.

    Returns:
        PNG bytes; a sentence in place of images where there is no error.
    """
    wrong, labels, class_names = predictions.errors, predictions.labels, predictions.class_names
    point = "" if predictions.threshold is None else f" at threshold {predictions.threshold:.3f}"
    chosen, each, predicted = wrong[:limit], predictions.by_class, predictions.predicted
    letters = caption_letters(cell_width(MOST_COLUMNS))
    captions = [
        f"#{index}: {short_name(class_names[labels[index]], letters - 6)}\n"
        f"called {short_name(class_names[predicted[index]], letters - 7)}\n"
        f"with p = {each[index, predicted[index]]:.2f}"
        for index in chosen
    ]
    colors = class_colors(len(class_names))
    truths = sorted({int(labels[index]) for index in chosen})
    figure = (
        image_grid(
            images[chosen], captions, columns=MOST_COLUMNS, frame_colors=[colors[labels[index]] for index in chosen]
        )
        if len(chosen)
        else sentence(f"No errors among {len(labels)} images{point}.")
    )
    return render_png(
        figure, source, title=f"The {len(chosen)} surest of {len(wrong)} errors{point}: true class, what it is called",
        shown=_test(predictions),
        legend=frames([colors[each] for each in truths], [f"truly {short_name(class_names[each])}" for each in truths]),
    )  # fmt: skip


def grad_cam_montage(
    images: NDArray[np.uint8],
    maps: NDArray[np.floating],
    predictions: Predictions,
    *,
    numbers: NDArray[np.integer] | None = None,
    cases: int = 4,
    source: Source,
) -> bytes:
    """Draw images beside what Grad-CAM says of them, one row for each kind of outcome.

    Args:
        images: shape (images, height, width), or (images, height, width, 3) in colour; 0–255.
        maps: of Grad-CAM in [0, 1], for the `explained_classes` of the predictions, shape (images, 2, height, width).
        predictions: of the test split.
        numbers: of the images in their split, shape (images,); None counts from 0.
        cases: most images per row, as in `explained_cases`.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    class_names, names, groups = predictions.class_names, predictions.outcome_names, predictions.outcomes
    two, each, targets = len(class_names) == 2, predictions.by_class, predictions.explained_classes
    side, letters = cell_width(MOST_COLUMNS), caption_letters(cell_width(MOST_COLUMNS))
    row_height, heading = side + 0.45, 0.24
    chosen = [np.flatnonzero(groups == kind)[:cases] for kind in range(len(names))]
    lines = [max(1, -(-len(found) // _CASES_A_ROW)) for found in chosen]
    empty = [not len(found) for found in chosen]
    sheet = Sheet(
        sum(heading + (0.22 if none else row_height * count) for none, count in zip(empty, lines, strict=True))
    )
    y = 0.0
    for kind, found in enumerate(chosen):
        color = BAD if kind >= len(names) // 2 else GOOD
        sheet.text(column_edge(0, MOST_COLUMNS), y + 0.05, names[kind], fontsize=TEXT + 1, color=color, weight="bold")
        y += heading
        if not len(found):
            sheet.text(column_edge(0, MOST_COLUMNS), y, "none among the images", color=MUTED)
            y += 0.22
        for position, index in enumerate(found):
            column = 3 * (position % _CASES_A_ROW)
            if position and not column:
                y += row_height
            number = index if numbers is None else numbers[index]
            truth = short_name(class_names[predictions.labels[index]], letters - 6)
            x = column_edge(column, MOST_COLUMNS)
            sheet.image(images[index], x, y, side)
            sheet.text(x, y + side + 0.04, f"#{number}\ntruly {truth}")
            for place, (target, heat) in enumerate(zip(targets[index], maps[index], strict=True), start=1):
                x = column_edge(column + place, MOST_COLUMNS)
                sheet.image(images[index], x, y, side, overlay=heat)
                name = short_name(class_names[target], letters - 4)
                sheet.text(x, y + side + 0.04, f"for {name}\np = {each[index, target]:.2f}")
        y += row_height if len(found) else 0
    other = "the evidence for each class" if two else "for the predicted class, and the true or next likeliest one"
    return render_png(
        sheet.figure, source, title=f"Grad-CAM: each image, then {other} (red: most evidence)",
        shown=f"test, {int(sum(map(len, chosen)))} images, the first of each outcome",
    )  # fmt: skip


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


def _square(horizontal: str, vertical: str) -> tuple[Figure, Any]:
    figure = new_figure(3.2)
    axis = figure.subplots()
    axis.set(xlabel=horizontal, ylabel=vertical, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.grid(alpha=0.3)
    return figure, axis


def _with_lines(figure: Figure, axis: Any, predictions: Predictions, source: Source, title: str) -> bytes:
    """Render a figure of curves with a legend of them."""
    handles = axis.get_legend_handles_labels()[0]
    return render_png(figure, source, title=title, shown=_test(predictions), legend=handles)


def _test(predictions: Predictions) -> str:
    return f"test, {len(predictions.labels)} images"
