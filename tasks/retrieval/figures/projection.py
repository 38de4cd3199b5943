"""The figure of the embedding in the plane, as PNG bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tasks.shared.figures import BAD, class_colors, new_figure, render_png, without_ticks

_RIGHT_COLOR = "#b9bfc9"
_DOT = 11  # area of a point in square points


def projection_scatter(
    tsne: NDArray[np.floating],
    umap: NDArray[np.floating],
    labels: NDArray[np.integer],
    right: NDArray[np.bool_],
    confidence: NDArray[np.floating],
    failed: NDArray[np.bool_],
    class_names: Sequence[str],
    *,
    failure: str,
    phantoms: bool,
) -> bytes:
    """Draw the images in the plane, coloured by class, by the classifier's errors and by its confidence.

    Args:
        tsne: coordinates by t-SNE, shape (images, 2).
        umap: coordinates by UMAP, shape (images, 2).
        labels: class of each image, shape (images,).
        right: whether the classifier predicts each image's class, shape (images,).
        confidence: probability of the predicted class, shape (images,).
        failed: images for which the retrieval fails, which are ringed, shape (images,).
        class_names: by label.
        failure: what the ring means, for the legend.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(11.5, 7.6)
    figure.suptitle("The embedding in the plane (for looking only: distances are distorted)", fontsize=10)
    axes: Any = figure.subplots(2, 3)
    for row, (method, points) in enumerate((("t-SNE", tsne), ("UMAP", umap))):
        by_class, by_error, by_confidence = axes[row]
        by_class.set_ylabel(method, fontsize=10)
        for label, (name, color) in enumerate(zip(class_names, class_colors(len(class_names)), strict=True)):
            _scatter(by_class, points[labels == label], color=color, label=f"{name} ({int((labels == label).sum())})")
        _scatter(by_error, points[right], color=_RIGHT_COLOR, label=f"predicted rightly ({int(right.sum())})")
        _scatter(by_error, points[~right], color=BAD, label=f"predicted wrongly ({int((~right).sum())})")
        # The least confident last, so that the many sure ones do not hide them.
        order = np.argsort(-confidence, kind="stable")
        shaded = _scatter(
            by_confidence, points[order], c=confidence[order], cmap="viridis", vmin=1 / len(class_names), vmax=1
        )
        figure.colorbar(shaded, ax=by_confidence, label="probability of the predicted class")
        for axis in axes[row]:
            axis.scatter(
                *points[failed].T, s=34, facecolors="none", edgecolors="black", linewidths=0.8,
                label=f"{failure} ({int(failed.sum())})",
            )  # fmt: skip
            without_ticks(axis)
    for column, title in enumerate(("class", "classifier's errors", "classifier's confidence")):
        axes[0, column].set_title(title, fontsize=9)
        # A row of its own below, since points may lie anywhere.
        axes[1, column].legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=7.5, frameon=False, ncols=2, columnspacing=1.2
        )
    return render_png(figure, phantoms=phantoms)


def _scatter(axis: Axes, points: NDArray[np.floating], **style: Any) -> Any:
    return axis.scatter(points[:, 0], points[:, 1], s=_DOT, alpha=0.75, linewidths=0, **style)
