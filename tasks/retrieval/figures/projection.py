"""The figure of the embedding in the plane, as PNG bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tasks.shared.figures import BAD, SMALL, TEXT, Source, class_colors, new_figure, render_png

_CORRECT_COLOR = "#b9bfc9"
_DOT = 7  # area of a point in square points


def projection_scatter(
    tsne: NDArray[np.floating],
    umap: NDArray[np.floating],
    labels: NDArray[np.integer],
    correct: NDArray[np.bool_],
    confidence: NDArray[np.floating],
    failed: NDArray[np.bool_],
    class_names: Sequence[str],
    *,
    failure: str,
    source: Source,
) -> bytes:
    """Draw the images in the plane, coloured by class, by the classifier's errors and by its confidence.

    Args:
        tsne: coordinates by t-SNE, shape (images, 2).
        umap: coordinates by UMAP, shape (images, 2).
        labels: class of each image, shape (images,).
        correct: whether the classifier predicts each image's class, shape (images,).
        confidence: probability of the predicted class, shape (images,).
        failed: images for which the retrieval fails, which are ringed, shape (images,).
        class_names: by label.
        failure: what the ring means, for the legend.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(4.9)
    axes: Any = figure.subplots(2, 3)
    for row, (method, points) in enumerate((("t-SNE", tsne), ("UMAP", umap))):
        by_class, by_error, by_confidence = axes[row]
        by_class.set_ylabel(method, fontsize=TEXT + 1)
        for label, (name, color) in enumerate(zip(class_names, class_colors(len(class_names)), strict=True)):
            _scatter(by_class, points[labels == label], color=color, label=f"{name} ({int((labels == label).sum())})")
        _scatter(by_error, points[correct], color=_CORRECT_COLOR, label=f"correct ({int(correct.sum())})")
        _scatter(by_error, points[~correct], color=BAD, label=f"incorrect ({int((~correct).sum())})")
        # The least confident last, so that the many sure ones do not hide them.
        order = np.argsort(-confidence, kind="stable")
        shaded = _scatter(
            by_confidence, points[order], c=confidence[order], cmap="viridis", vmin=1 / len(class_names), vmax=1
        )
        for axis in axes[row]:
            axis.scatter(
                *points[failed].T, s=22, facecolors="none", edgecolors="black", linewidths=0.7,
                label=f"ringed: {failure} ({int(failed.sum())})",
            )  # fmt: skip
            axis.set_xticks([])
            axis.set_yticks([])
    bar = figure.colorbar(shaded, ax=axes[:, 2], location="bottom", aspect=25, pad=0.02)
    bar.set_label("probability of the predicted class", fontsize=SMALL + 0.5)
    for column, title in enumerate(("class", "classifier's errors", "classifier's confidence")):
        axes[0, column].set_title(title)
    (*classes, ring), (*errors, _) = (axis.get_legend_handles_labels()[0] for axis in axes[0, :2])
    return render_png(
        figure, source, title="The embedding in the plane (for looking only: distances are distorted)",
        shown=f"test, {len(labels)} images", legend=[*classes, *errors, ring],
    )  # fmt: skip


def _scatter(axis: Axes, points: NDArray[np.floating], **style: Any) -> Any:
    return axis.scatter(points[:, 0], points[:, 1], s=_DOT, alpha=0.75, linewidths=0, **style)
