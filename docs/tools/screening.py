"""How well the screening tells foreign pictures: `python -m docs.tools.screening DATASET.npz FOLDER CLASSIFIER…`.

It prints the tables of docs/cases.md and draws its figure into the folder. DATASET is PneumoniaMNIST at 28 pixels, each
CLASSIFIER a file `classifier.safetensors` of a run. The way to measure distance is chosen on validation; test images
are looked at last, and only with the chosen one.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from docs.tools.foreign_pictures import Pictures, harmless, to_choose_with, to_measure_with
from models.classifier.prediction import predict
from models.errors import InputError
from tasks.cases.case import Screening
from tasks.cases.screening import KEPT, directions, fit_screening, screen, thumbnails
from tasks.classification.classifier_file import LoadedClassifier, load_classifier
from tasks.data.audit import audit
from tasks.data.catalogue import look_up
from tasks.data.pictures.grey_levels import luma
from tasks.data.pictures.picture_facts import PictureFacts, coloured_share, measure
from tasks.data.validation import Splits, read_splits
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED, Source, new_figure, patches, render_png
from tasks.shared.markdown import table
from tasks.shared.model_size import to_model_size
from tasks.shared.png import with_few_colors

_NEAREST, _TICKS = 0.2, (0.2, 0.5, 1, 2, 5, 10)  # of the figure's axis

COUNT = 200  # foreign pictures of a kind
SEED = 0

_Floats = NDArray[np.floating]
_Images = NDArray[np.uint8]
_Way = Callable[[_Images, _Floats], _Floats]


@dataclass(frozen=True)
class Seen:
    """Pictures of a kind, as the classifier sees them.

    Attributes:
        images: shape (pictures, 28, 28).
        facts: of each at its own size.
    """

    images: _Images
    facts: list[PictureFacts]


@dataclass(frozen=True)
class Judged:
    """What the screening says of a kind of picture.

    Attributes:
        auroc: how well its distance tells the kind from the test images.
        rejected: share of it that is foreign by its distance.
        found: share that is foreign by any reason.
        distances: relative to the limit.
    """

    auroc: float
    rejected: float
    found: float
    distances: _Floats


def main(dataset: Path, folder: Path, classifiers: Sequence[Path]) -> str:
    """Choose, measure and draw.

    Args:
        dataset: the official file.
        folder: where the figure goes.
        classifiers: the files, at least one; the figure shows the first.

    Returns:
        The tables, in Markdown.
    """
    splits, training = _read(dataset)
    loaded = {path: load_classifier(path.read_bytes()) for path in classifiers}
    choice = _choice(splits, training, list(loaded.values()))
    kinds = {kind: _seen(some) for kind, some in to_measure_with(splits.test_images, COUNT, SEED).items()}
    tests = _seen(list(splits.test_images))
    judged: dict[str, list[dict[str, Judged]]] = {}
    kept: dict[str, list[list[float]]] = {}
    for network in loaded.values():
        fitted = fit_screening(
            training, _embed(network, training), splits.val_images, _embed(network, splits.val_images)
        )
        ours = _screen(fitted, network, tests)
        name = network.card["architecture"]
        kept.setdefault(name, []).append(_kept(ours, network, splits))
        judged.setdefault(name, []).append(
            {"X-rays of test": _judge(ours, ours)}
            | {kind: _judge(_screen(fitted, network, some), ours) for kind, some in kinds.items()}
        )
    name = next(iter(judged))
    source = Source("PneumoniaMNIST", f"{name}, seed {next(iter(loaded.values())).card['training']['seed']}")
    drawn = {"X-rays of test": tests} | kinds
    (folder / "cases_foreign.png").write_bytes(with_few_colors(draw(judged[name][0], drawn, source)))
    return "\n\n".join((choice, _measured(judged), _kept_table(kept)))


def _read(path: Path) -> tuple[Splits, _Images]:
    """Read the splits, and the training images that validation does not hold too."""
    entry = look_up()
    splits = read_splits(path.read_bytes(), labels=entry.labels, size=28, channels=1)
    shared = audit(splits, entry.labels).train_shared_with_validation
    return splits, np.delete(splits.train_images, list(shared), axis=0)


def _seen(pictures: Pictures) -> Seen:
    """Make of pictures what the reader makes of their files."""
    levels = [picture if picture.ndim == 2 else luma(picture) for picture in pictures]
    facts = [
        measure(grey, coloured=coloured_share(picture) if picture.ndim == 3 else 0.0)
        for grey, picture in zip(levels, pictures, strict=True)
    ]
    return Seen(np.stack([to_model_size(grey, 28) for grey in levels]), facts)


def _embed(network: LoadedClassifier, images: _Images) -> _Floats:
    return predict(network.model, images, network.normalization).embeddings


def _screen(fitted: dict[str, NDArray[Any]], network: LoadedClassifier, seen: Seen) -> list[Screening]:
    return screen(fitted, seen.images, _embed(network, seen.images), seen.facts)


def _judge(found: Sequence[Screening], ours: Sequence[Screening]) -> Judged:
    distances = np.array([one.distance / one.limit for one in found])
    return Judged(
        auroc=_auroc(np.array([one.distance / one.limit for one in ours]), distances),
        rejected=float((distances > 1).mean()),
        found=float(np.mean([one.foreign for one in found])),
        distances=distances,
    )


def _auroc(near: _Floats, far: _Floats) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(near), len(far)]), np.concatenate([near, far])))


def ways(training: _Images, embeddings: _Floats) -> dict[str, _Way]:
    """Give the ways to measure distance to the training images that are compared.

    Args:
        training: shape (images, 28, 28).
        embeddings: theirs, shape (images, dimensions).

    Returns:
        By name, functions of images and their embeddings.
    """
    unit = directions(embeddings)
    shrunk = {side: thumbnails(training, side) for side in (7, 14, 28)}
    gauss = LedoitWolf().fit(unit)
    mean, components = _components(shrunk[28], 64)
    means, features = _components(embeddings, 32)

    def nearest(queries: _Floats, gallery: _Floats, k: int) -> _Floats:
        return np.asarray(1 - np.partition(queries @ gallery.T, -k, axis=1)[:, -k:].mean(axis=1))

    def left_over(vectors: _Floats, mean: _Floats, components: _Floats) -> _Floats:
        centred = vectors - mean
        return np.linalg.norm(centred - centred @ components.T @ components, axis=1)

    found: dict[str, _Way] = {}
    for k in (1, 5, 10):
        found[f"embedding, {k} nearest"] = lambda images, rows, k=k: nearest(directions(rows), unit, k)
    found["embedding, Mahalanobis"] = lambda images, rows: gauss.mahalanobis(directions(rows)) ** 0.5
    found["embedding, beyond 32 components"] = lambda images, rows: (
        left_over(rows, means, features) / np.linalg.norm(rows, axis=1).clip(1e-6)
    )
    for side, k in ((28, 1), (28, 5), (28, 10), (14, 5), (7, 1), (7, 5), (7, 10)):
        found[f"{side} × {side} pixels, {k} nearest"] = lambda images, rows, side=side, k=k: nearest(
            thumbnails(images, side), shrunk[side], k
        )
    found["28 × 28 pixels, beyond 64 components"] = lambda images, rows: left_over(
        thumbnails(images, 28), mean, components
    )
    return found


COMBINED = (
    ("embedding, 5 nearest", "28 × 28 pixels, 5 nearest"),
    ("embedding, 5 nearest", "14 × 14 pixels, 5 nearest"),
    ("embedding, 5 nearest", "7 × 7 pixels, 5 nearest"),
    ("embedding, Mahalanobis", "7 × 7 pixels, 5 nearest"),
    ("embedding, 5 nearest", "28 × 28 pixels, beyond 64 components"),
)
"""Pairs of which the larger counts, each relative to what `KEPT` of validation stay within."""


def _components(vectors: _Floats, count: int) -> tuple[_Floats, _Floats]:
    mean = vectors.mean(axis=0)
    return mean, np.linalg.svd(vectors - mean, full_matrices=False)[2][:count]


def _choice(splits: Splits, training: _Images, networks: Sequence[LoadedClassifier]) -> str:
    """Compare the ways on validation images, foreign pictures and harmless changes; means over the networks."""
    validation = splits.val_images
    foreign = {kind: _seen(some).images for kind, some in to_choose_with(validation, COUNT, SEED).items()}
    mild = {kind: _seen(some).images for kind, some in harmless(validation, COUNT, SEED).items()}
    figures: dict[str, list[list[float]]] = {}
    for network in networks:
        compared = ways(training, _embed(network, training))
        pictures = {"": validation} | foreign | mild
        distances: dict[str, dict[str, _Floats]] = {}
        for kind, images in pictures.items():
            rows = _embed(network, images)
            for name, way in compared.items():
                distances.setdefault(name, {})[kind] = way(images, rows)
        for pair in COMBINED:
            limits = [np.quantile(distances[name][""], KEPT) for name in pair]
            distances[" + ".join(pair)] = {
                kind: np.maximum(*(distances[name][kind] / at for name, at in zip(pair, limits, strict=True)))
                for kind in pictures
            }
        for name, by_kind in distances.items():
            limit = np.quantile(by_kind[""], KEPT)
            figures.setdefault(name, []).append(
                [
                    float(np.mean([_auroc(by_kind[""], by_kind[kind]) for kind in foreign])),
                    float(np.mean([(by_kind[kind] > limit).mean() for kind in foreign])),
                    min(float((by_kind[kind] > limit).mean()) for kind in foreign),
                    float(np.mean([(by_kind[kind] <= limit).mean() for kind in mild])),
                    min(float((by_kind[kind] <= limit).mean()) for kind in mild),
                ]
            )
    rows = [(name, *map(_short, np.mean(some, axis=0))) for name, some in figures.items()]
    header = ("distance", "AUROC", "foreign rejected", "least", "harmless kept", "least")
    return table(header, rows)


def _measured(judged: dict[str, list[dict[str, Judged]]]) -> str:
    header = ["pictures"]
    for name, runs in judged.items():
        header += [f"AUROC, {name} ({len(runs)})", "rejected by distance", "by any reason"]
    rows = []
    for number, kind in enumerate(next(iter(judged.values()))[0]):
        row = [kind]
        for runs in judged.values():
            parts = [[run[kind].auroc, run[kind].rejected, run[kind].found] for run in runs]
            auroc, *shares = map(_short, np.mean(parts, axis=0))
            row += [auroc if number else "", *shares]
        rows.append(row)
    return table(header, rows)


def _kept(ours: Sequence[Screening], network: LoadedClassifier, splits: Splits) -> list[float]:
    kept = np.array([not one.foreign for one in ours])
    labels = splits.test_labels
    right = (predict(network.model, splits.test_images, network.normalization).logits > 0) == (labels == 1)
    shares = [kept.mean(), kept[labels == 0].mean(), kept[labels == 1].mean()]
    return [float(share) for share in (*shares, right.mean(), right[kept].mean(), right[~kept].mean())]


def _kept_table(kept: dict[str, list[list[float]]]) -> str:
    header = ("classifier", "kept", "of normal", "of pneumonia", "accuracy on all", "on the kept", "on the rejected")
    rows = [(f"{name} ({len(runs)})", *map(_short, np.mean(runs, axis=0))) for name, runs in kept.items()]
    return table(header, rows)


def _short(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def draw(judged: dict[str, Judged], seen: dict[str, Seen], source: Source) -> bytes:
    """Draw an example of each kind beside the distances of all.

    Args:
        judged: by kind.
        seen: by kind.
        source: what it is drawn from.

    Returns:
        PNG bytes.
    """
    shown, row = 4, 0.36
    figure = new_figure(row * len(judged) + 0.45)
    examples, axis = figure.subplots(1, 2, width_ratios=(1, 4.2))
    for number, (kind, found) in enumerate(judged.items()):
        for place, image in enumerate(seen[kind].images[:shown]):
            extent = (place, place + 0.92, number + 0.46, number - 0.46)
            examples.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto")
        _row(axis, number, kind, found)
    for each in (examples, axis):
        each.set_ylim(len(judged) - 0.5, -0.5)
        each.set_yticks([])
        each.spines[:].set_visible(False)
    examples.set_xlim(0, shown)
    examples.set_xticks([])
    axis.axvline(1, color=MUTED, linewidth=1, zorder=0)
    axis.set_xscale("log")
    axis.set_xlim(_NEAREST, None)
    axis.set_xticks(_TICKS, list(map(str, _TICKS)))
    axis.minorticks_off()
    axis.set_xlabel("distance to the training images, 1 where a picture becomes foreign")
    legend = patches(
        (CLASS_COLORS[0], GOOD, BAD),
        ("X-rays as they are", "at least 95 % rejected by distance", "fewer rejected"),
    )
    return render_png(
        figure, source, title="How far foreign pictures lie from the training images", shown="test", legend=legend
    )


def _row(axis: Axes, number: int, kind: str, found: Judged) -> None:
    color = CLASS_COLORS[0] if number == 0 else GOOD if found.rejected >= KEPT else BAD
    low, *quartiles, high = np.quantile(found.distances, (0.05, 0.25, 0.75, 0.95))
    axis.plot((low, high), (number + 0.18,) * 2, color=color, linewidth=1)
    axis.plot(quartiles, (number + 0.18,) * 2, color=color, linewidth=5, solid_capstyle="butt")
    text = f"{kind} · {found.rejected:.0%} rejected" + (f" · AUROC {found.auroc:.3f}" if number else "")
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axis.text(_NEAREST * 1.03, number - 0.17, text, va="center", bbox=behind)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.stderr.write("error: usage: python -m docs.tools.screening DATASET.npz FOLDER CLASSIFIER...\n")
        raise SystemExit(2)
    try:
        sys.stdout.write(main(Path(sys.argv[1]), Path(sys.argv[2]), list(map(Path, sys.argv[3:]))) + "\n")
    except InputError as mistake:
        sys.stderr.write(f"error: {mistake}\n")
        raise SystemExit(2) from None
