"""What the checks of the Grad-CAM maps say: on which images they are made, scores with intervals, the report."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.explanation.deletion_insertion import PixelRemoval, area
from models.explanation.weight_randomisation import WeightRandomisation
from tasks.shared.bootstrap import interval, mean_interval, resample_counts
from tasks.shared.markdown import picture, table

ALIKE = 0.3
"""Rank correlation below which maps count as unlike: they share less than a tenth of the variance of their ranks."""
NEGLIGIBLE = 0.01
"""Difference of two areas that counts as none, however sure it is."""
_RANDOMISATION = picture(
    "grad_cam_randomisation",
    "How alike the maps stay while the model's parts lose their training: maps that depend on it fall to the band.",
) + picture("grad_cam_randomisation_examples", "The same on a few images: what is left of a map must not be its own.")
_REMOVAL = picture(
    "grad_cam_deletion_insertion",
    "How the prediction falls as pixels go and rises as they come, in the order of the maps and in others.",
)
SAMPLES = 1000
SEED = 0


def spread_sample(labels: NDArray[np.integer], size: int, seed: int = SEED) -> NDArray[np.int64]:
    """Draw images of all classes in turn, so that each has as many as it can give.

    Args:
        labels: shape (images,).
        size: most images to draw.
        seed: seed of the draw.

    Returns:
        Positions of the images, each at most once, shape (at most `size`,).
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turns[members] = np.arange(len(members))
    return np.lexsort((labels, turns))[:size]


def maps_of_other_images(maps: NDArray[np.floating], targets: NDArray[np.integer]) -> NDArray[np.floating]:
    """Give each image the map of another one with the same target: as smooth and as central, but not its own.

    Args:
        maps: shape (images, height, width).
        targets: explained class of each image, shape (images,).

    Returns:
        Maps, the same shape; flat where no other image has the target.
    """
    others = np.zeros_like(maps)
    for target in np.unique(targets):
        members = np.flatnonzero(targets == target)
        if len(members) > 1:
            others[members] = maps[np.roll(members, 1)]
    return others


def explanation_metrics(randomisation: WeightRandomisation, removal: PixelRemoval) -> dict[str, float]:
    """Sum the checks up for the tracker.

    Args:
        randomisation: the similarities of the first method, Grad-CAM, count.
        removal: the curves of the first order, Grad-CAM's, count against those of the last, random patches.

    Returns:
        `explanation/…`: rank correlation with an untrained network's maps, areas of deletion (low is good) and
        insertion (high is good), and what the maps gain over random patches in both, with 95 % intervals.
    """
    untrained = randomisation.rank_correlations[0, -1]
    low, high = two_way_interval(untrained)
    metrics = {
        "explanation/untrained_rank_correlation": float(untrained.mean()),
        "explanation/untrained_rank_correlation_ci_low": low,
        "explanation/untrained_rank_correlation_ci_high": high,
    }
    for kind, gains in _gains(removal).items():
        metrics[f"explanation/{kind}"] = float(area(getattr(removal, kind)[0]).mean())
        metrics[f"explanation/{kind}_gain"] = float(gains[-1].mean())
        low, high = mean_interval(gains[-1], SAMPLES, SEED)
        metrics[f"explanation/{kind}_gain_ci_low"], metrics[f"explanation/{kind}_gain_ci_high"] = low, high
    return metrics


def two_way_interval(values: NDArray[np.floating]) -> tuple[float, float]:
    """Take the interval of a mean over draws and images, both drawn anew (the pigeonhole bootstrap of Owen, 2007).

    All images of one draw see the same untrained network, so that they are not independent.

    Args:
        values: shape (draws, images).

    Returns:
        Lower and upper bound of the 95 % interval.
    """
    draws, images = values.shape
    draw_counts = resample_counts(draws, SAMPLES, SEED)
    image_counts = resample_counts(images, SAMPLES, SEED + 1)
    return interval(((draw_counts @ values) * image_counts).sum(axis=1) / values.size)


def explanation_report(randomisation: WeightRandomisation, removal: PixelRemoval, *, class_names: Sequence[str]) -> str:
    """Write what the checks found.

    Args:
        randomisation: the first method is Grad-CAM, the others are controls that know nothing of the model.
        removal: the first order is Grad-CAM's, the last is that of random patches.
        class_names: name of each class.

    Returns:
        Markdown without a title, with third-level headings.
    """
    return (
        f"### Do the maps depend on the model?\n\n{_RANDOMISATION}{_randomisation_text(randomisation)}\n"
        f"### Do the maps show what the model uses?\n\n{_REMOVAL}{_removal_text(removal, class_names)}"
    )


def _randomisation_text(randomisation: WeightRandomisation) -> str:
    _, _, draws, images = randomisation.rank_correlations.shape
    method, *controls = randomisation.methods
    correlations = randomisation.rank_correlations
    rows = []
    for stage, name in enumerate(randomisation.stages):
        rows.append(
            (
                name if stage == 0 else f"… and {name}",
                float(correlations[0, stage].mean()),
                _range(two_way_interval(correlations[0, stage])),
                float(randomisation.structural_similarities[0, stage].mean()),
                f"{randomisation.flat[0, stage].mean():.1%}",
                *(float(correlations[control, stage].mean()) for control in range(1, 1 + len(controls))),
            )
        )
    header = ("without training", f"{method}: rank correlation", "95 % interval", "SSIM", "flat maps")
    low, high = two_way_interval(correlations[0, -1])
    shared = float(randomisation.unrelated[0].mean())
    if max(-low, high) < ALIKE:
        verdict = (
            f"**The maps depend on the model**: with no trained weight left, their rank correlation with the trained "
            f"model's maps is {_range((low, high))}, within ±{ALIKE}."
        )
    elif low > ALIKE:
        verdict = (
            f"**The maps do not show that they depend on the model**: with no trained weight left they are still like "
            f"the trained model's maps, at a rank correlation of {_range((low, high))}, above {ALIKE}."
        )
    else:
        verdict = (
            f"**The check is undecided**: with no trained weight left the rank correlation with the trained model's "
            f"maps is {_range((low, high))}, which is not within ±{ALIKE}; more draws or images may settle it."
        )
    return (
        f"{verdict}\n\n"
        + table((*header, *(f"{control}: rank correlation" for control in controls)), rows)
        + f"\nWeights are replaced by those of untrained networks from the head down (Adebayo et al., 2018): {draws} "
        f"networks, {images} images, always the class that the trained model predicts. The interval draws both anew. "
        f"Maps of two different images have a rank correlation of {shared:.3f}. Controls know nothing of the model, so "
        "they stay at 1: this is what a failed check looks like.\n"
    )


def _removal_text(removal: PixelRemoval, class_names: Sequence[str]) -> str:
    deletion, insertion = area(removal.deletion), area(removal.insertion)
    steps, other, gains = removal.deletion.shape[-1] - 1, removal.orders[-1], _gains(removal)
    intervals = {
        kind: [mean_interval(values, SAMPLES, SEED) for values in differences] for kind, differences in gains.items()
    }
    rows: list[tuple[object, ...]] = [
        (removal.orders[0], float(deletion[0].mean()), float(insertion[0].mean()), "", "")
    ]
    for place, name in enumerate(removal.orders[1:]):
        gained = (_gain(gains[kind][place], intervals[kind][place]) for kind in ("deletion", "insertion"))
        rows.append((name, float(deletion[place + 1].mean()), float(insertion[place + 1].mean()), *gained))
    return (
        f"{_removal_verdict(removal, {kind: bounds[-1] for kind, bounds in intervals.items()})}\n\n"
        + table(
            ("order of the pixels", "deletion", "insertion", "gain of the maps in deletion", "gain in insertion"), rows
        )
        + "\nArea under the probability of the predicted class while pixels go (deletion, low is good) or come "
        f"(insertion, high is good) in {steps} steps (Petsiuk et al., 2018), {len(removal.targets)} images; the mean "
        "of the training pixels stands in for a pixel that is gone. A gain is the mean difference per image, with a "
        "95 % bootstrap interval; above 0 the maps do better. Pixels that go singly leave noise, which the model may "
        "take for a sign of its own: patches as coarse as the maps are the fair comparison.\n\n"
        + table(
            (
                "predicted class",
                "images",
                "probability on a blank image",
                f"gain over {other} in deletion",
                "in insertion",
            ),
            _rows_by_class(removal, gains, class_names),
        )
        + "\nA blank image shows nothing, but the model still predicts a class. For that class a deletion can hardly "
        "lower the probability, so that its gain says less than that of the others.\n"
    )


def _removal_verdict(removal: PixelRemoval, bounds: dict[str, tuple[float, float]]) -> str:
    better = [kind for kind, (low, _) in bounds.items() if low > NEGLIGIBLE]
    worse = [kind for kind, (_, high) in bounds.items() if high < -NEGLIGIBLE]
    other = removal.orders[-1]
    if worse:
        return f"**The maps mislead**: in {' and in '.join(worse)} they do worse than {other}."
    if len(better) == len(bounds):
        return f"**The maps point at what the model uses**: in deletion and in insertion they beat {other}."
    if better:
        return f"**The maps point at what the model uses only in part**: they beat {other} in {better[0]} alone."
    return f"**The maps are not shown to point at what the model uses**: they do not beat {other}."


def _rows_by_class(
    removal: PixelRemoval, gains: dict[str, NDArray[np.float64]], class_names: Sequence[str]
) -> list[tuple[object, ...]]:
    rows = []
    for target in np.unique(removal.targets):
        members = removal.targets == target
        random = [gains[kind][-1, members] for kind in ("deletion", "insertion")]
        rows.append(
            (
                class_names[target],
                int(members.sum()),
                float(removal.deletion[0, members, -1].mean()),
                *(_gain(values, mean_interval(values, SAMPLES, SEED)) for values in random),
            )
        )
    return rows


def _gains(removal: PixelRemoval) -> dict[str, NDArray[np.float64]]:
    """Subtract the areas of the first order and of each other one, so that above 0 the first is better."""
    deletion, insertion = area(removal.deletion), area(removal.insertion)
    return {"deletion": deletion[1:] - deletion[0], "insertion": insertion[0] - insertion[1:]}


def _gain(values: NDArray[np.floating], bounds: tuple[float, float]) -> str:
    return f"{_number(float(values.mean()), '+z.3f')} ({_range(bounds, '+z.3f')})"


def _range(bounds: tuple[float, float], spec: str = "z.3f") -> str:
    low, high = (_number(bound, spec) for bound in bounds)
    return f"{low} to {high}"


def _number(value: float, spec: str) -> str:
    return format(value, spec).replace("-", "−")
