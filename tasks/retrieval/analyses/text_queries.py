"""Texts as queries: which images a prompt finds, and how well prompts alone tell the classes apart.

The prompts stand in a versioned file beside this module and are fixed beforehand: none is chosen by what it finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.bounded_file import read_file
from models.bounded_json import parse_json
from models.bounds import TEXT_BYTES
from models.errors import InputError
from models.text import printable, reason
from models.vector_index import normalize
from tasks.retrieval.metrics import chance, ranking
from tasks.retrieval.metrics.protocols import Protocol
from tasks.retrieval.metrics.ranking import RankingResult
from tasks.shared.bootstrap import interval, resample
from tasks.shared.estimates import Estimate, format_estimate
from tasks.shared.markdown import table
from tasks.shared.metric_names import class_metric
from tasks.shared.rank_biserial import rank_biserial

PROMPTS = Path(__file__).with_name("text_prompts.json")
"""The prompts that are evaluated."""


@dataclass(frozen=True)
class Prompt:
    """A text that describes images of one class.

    Attributes:
        id: its name in the file.
        text: what the encoder reads.
        label: the class that it describes.
    """

    id: str
    text: str
    label: int


@dataclass(frozen=True)
class PromptSet:
    """The prompts of a file, class after class.

    Attributes:
        version: of the file.
        class_names: of the two classes that the prompts describe, by label.
        prompts: every prompt.
        pairs: positions of a prompt of each class that differ only in the finding.
    """

    version: str
    class_names: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """What the encoder reads, one text per prompt."""
        return tuple(prompt.text for prompt in self.prompts)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each prompt, shape (prompts,)."""
        return np.array([prompt.label for prompt in self.prompts], dtype=np.int64)


@dataclass(frozen=True)
class ZeroShot:
    """How well prompts alone tell the classes of the images apart.

    Attributes:
        scores: cosine with the prompts of class 1 less cosine with those of class 0, shape (images,). CLIP's
            probability is a softmax of the same cosines at a fixed scale, so it orders the images alike.
        auc: area under the ROC curve of the scores; 0.5 is chance.
        balanced_accuracy: mean of the recalls where the larger cosine decides; 0.5 is chance.
        recalls: share of each class that is predicted as such, by label.
    """

    scores: NDArray[np.float64]
    auc: Estimate
    balanced_accuracy: Estimate
    recalls: tuple[float, ...]


def read_prompts(path: Path = PROMPTS) -> PromptSet:
    """Read a prompt file.

    Args:
        path: JSON with a `version`, under `prompts` for each of two classes a list of an `id` and a `text` each, and
            under `pairs` lists of an id of the first and one of the second class.

    Returns:
        The prompts.

    Raises:
        InputError: the file is missing, is no such JSON, repeats an id or a text, or pairs prompts it does not hold.
    """
    try:
        content = _File.model_validate(parse_json(read_file(path, TEXT_BYTES)))
    except OSError as error:
        raise InputError(
            f"The prompt file {path} cannot be read ({reason(error)}); name a file of prompts by class."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = printable(".".join(map(str, first["loc"])) or "the whole file", 60)
        raise InputError(
            f"The prompt file {printable(path)} is not as expected at {place}: {printable(first['msg'], 60)}; write it "
            f"like {PROMPTS.name}."
        ) from error
    except ValueError as error:
        raise InputError(
            f"The prompt file {printable(path)} is no JSON ({printable(error)}); write it again."
        ) from error

    names = tuple(content.prompts)
    by_class = content.prompts.values()
    prompts = tuple(Prompt(entry.id, entry.text, label) for label, part in enumerate(by_class) for entry in part)
    for what, values in (("id", [prompt.id for prompt in prompts]), ("text", [prompt.text for prompt in prompts])):
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise InputError(
                f"The prompt file {printable(path)} holds the {what} '{printable(repeated[0], 60)}' twice, but each "
                f"{what} must be there once; change or delete one."
            )
    places = {(prompt.id, prompt.label): place for place, prompt in enumerate(prompts)}
    for pair in content.pairs:
        for label, name in enumerate(pair):
            if (name, label) not in places:
                raise InputError(
                    f"The prompt file {printable(path)} pairs '{printable(name, 60)}', which is no "
                    f"{printable(names[label], 60)} prompt of it; a pair names a prompt of each class in their order."
                )
    pairs = tuple((places[first, 0], places[second, 1]) for first, second in content.pairs)
    return PromptSet(content.version, names, prompts, pairs)


def evaluate_prompts(
    prompt_vectors: NDArray[np.floating],
    prompt_labels: NDArray[np.integer],
    image_vectors: NDArray[np.floating],
    image_labels: NDArray[np.integer],
    k_values: Sequence[int],
) -> Protocol:
    """Rank all images for each prompt; an image is relevant if it has the prompt's class.

    Args:
        prompt_vectors: shape (prompts, dimensions).
        prompt_labels: class of each prompt, shape (prompts,).
        image_vectors: of the same encoder, shape (images, dimensions).
        image_labels: class of each image, shape (images,).
        k_values: cut-offs, at most the number of images.

    Returns:
        The values per prompt, in their order, and what a random ranking would score: the share of the class.

    Raises:
        InputError: a vector has no direction, or a cut-off is not positive or exceeds the number of images.
    """
    prompt_ids, image_ids = -1 - np.arange(len(prompt_labels)), np.arange(len(image_labels))  # none is in both
    result = ranking.evaluate(
        prompt_vectors, prompt_labels, image_vectors, image_labels, prompt_ids, image_ids, k_values
    )
    return Protocol("text → image", result, chance.from_gallery(prompt_labels, prompt_ids, image_labels, k_values))


def best_and_worst(result: RankingResult, *, k: int) -> NDArray[np.int64]:
    """Choose for each class the prompt that finds most of it and the one that finds least.

    Args:
        result: values per prompt.
        k: a cut-off of the result.

    Returns:
        Positions of prompts: by class the best and the worst by precision@k, then by average precision; only one of a
        class that has one prompt.
    """
    order = np.lexsort((-result.values["average_precision"], -result.values[f"precision_at_{k}"]))
    chosen: list[int] = []
    for label in np.unique(result.query_labels):
        ranked = order[result.query_labels[order] == label]
        chosen += dict.fromkeys([*ranked[:1].tolist(), *ranked[-1:].tolist()])
    return np.array(chosen, dtype=np.int64)


def zero_shot(
    prompt_vectors: NDArray[np.floating],
    prompt_labels: NDArray[np.integer],
    image_vectors: NDArray[np.floating],
    image_labels: NDArray[np.integer],
    *,
    samples: int,
    seed: int,
) -> ZeroShot:
    """Classify images by prompts alone: the class whose prompts have the larger cosine.

    The prompts of a class count as one direction, the mean of their normalised vectors (Radford et al., "Learning
    transferable visual models from natural language supervision", ICML 2021, 3.1.4).

    Args:
        prompt_vectors: shape (prompts, dimensions).
        prompt_labels: class of each prompt, shape (prompts,); each class has at least one.
        image_vectors: of the same encoder, shape (images, dimensions).
        image_labels: class of each image, shape (images,).
        samples: bootstrap samples of the intervals, drawn within each class.
        seed: seed of the bootstrap.

    Returns:
        Scores and figures; the figures are NaN where the images are all of one class.

    Raises:
        InputError: a vector, or the mean of a class's prompts, has no direction.
    """
    unit = normalize(prompt_vectors)
    directions = normalize(np.stack([unit[prompt_labels == label].mean(axis=0) for label in (0, 1)]))
    cosines = normalize(image_vectors).astype(np.float64) @ directions.T.astype(np.float64)
    scores = cosines[:, 1] - cosines[:, 0]
    first, second = scores[image_labels == 0], scores[image_labels == 1]
    order = rank_biserial(second, first, samples=samples, seed=seed)
    hits = [(first <= 0).astype(np.float64), (second > 0).astype(np.float64)]
    recalls = tuple(float(hit.mean()) if len(hit) else float("nan") for hit in hits)
    balanced = Estimate(sum(recalls) / len(recalls), float("nan"), float("nan"), len(scores))
    if not np.isnan(balanced.value):
        # A seed per class, or the draws of one would follow those of the other.
        drawn = [hit[resample(len(hit), samples, seed + label)].mean(axis=1) for label, hit in enumerate(hits)]
        balanced = Estimate(balanced.value, *interval(np.mean(drawn, axis=0)), len(scores))
    auc = Estimate((order.value + 1) / 2, (order.low + 1) / 2, (order.high + 1) / 2, len(scores))
    return ZeroShot(scores, auc, balanced, recalls)


def zero_shot_by_pair(
    prompts: PromptSet,
    prompt_vectors: NDArray[np.floating],
    image_vectors: NDArray[np.floating],
    image_labels: NDArray[np.integer],
    *,
    samples: int,
    seed: int,
) -> tuple[ZeroShot, ...]:
    """Classify images by each pair of prompts that differ only in the finding, to see how much the wording decides.

    Args:
        prompts: with their pairs.
        prompt_vectors: shape (prompts, dimensions).
        image_vectors: of the same encoder, shape (images, dimensions).
        image_labels: class of each image, shape (images,).
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap.

    Returns:
        What `zero_shot` returns, one per pair.
    """
    found = []
    for pair in map(list, prompts.pairs):
        vectors, labels = prompt_vectors[pair], prompts.labels[pair]
        found.append(zero_shot(vectors, labels, image_vectors, image_labels, samples=samples, seed=seed))
    return tuple(found)


def text_metrics(
    protocol: Protocol, ensemble: ZeroShot, pairs: Sequence[ZeroShot], class_names: Sequence[str]
) -> dict[str, float]:
    """Name the metrics of text queries.

    Args:
        protocol: of `evaluate_prompts`.
        ensemble: `zero_shot` of all prompts.
        pairs: of `zero_shot_by_pair`.
        class_names: by label.

    Returns:
        `text/precision_at_K`, `text/map` and so on, all means over prompts, the precision and mAP also per class
        (`text/precision_at_5_normal`); the same under `chance/text/`; `zero_shot/auc` and
        `zero_shot/balanced_accuracy`, each with `_ci_low` and `_ci_high`; `zero_shot/recall_CLASS`; and
        `zero_shot/pair_auc_min` and `_max`. What is undefined is left out.
    """
    metrics: dict[str, float] = {}
    for prefix, result in (("text", protocol.result), ("chance/text", protocol.chance)):
        metrics |= ranking.means(result, prefix, class_names)
        for column in (column for column in result.values if column.startswith("precision_at_")):
            for label, name in enumerate(class_names):
                metrics[class_metric(f"{prefix}/{column}", name)] = result.mean(column, label)
    for name, found in (("auc", ensemble.auc), ("balanced_accuracy", ensemble.balanced_accuracy)):
        metrics[f"zero_shot/{name}"] = found.value
        metrics[f"zero_shot/{name}_ci_low"], metrics[f"zero_shot/{name}_ci_high"] = found.low, found.high
    for name, recall in zip(class_names, ensemble.recalls, strict=True):
        metrics[class_metric("zero_shot/recall", name)] = recall
    if pairs:
        areas = [pair.auc.value for pair in pairs]
        metrics |= {"zero_shot/pair_auc_min": min(areas), "zero_shot/pair_auc_max": max(areas)}
    return {name: value for name, value in metrics.items() if not np.isnan(value)}


def text_markdown(ensemble: ZeroShot, pairs: Sequence[ZeroShot], prompts: PromptSet) -> str:
    """Write how well the prompts alone tell the classes apart as a table.

    Args:
        ensemble: `zero_shot` of all prompts.
        pairs: of `zero_shot_by_pair`.
        prompts: what was asked.

    Returns:
        Markdown without a heading.
    """
    tried = [("all prompts of each class", ensemble)]
    tried += [
        (" / ".join(prompts.texts[place] for place in pair), found)
        for pair, found in zip(prompts.pairs, pairs, strict=True)
    ]
    scores = [
        (name, format_estimate(found.auc), format_estimate(found.balanced_accuracy), *found.recalls)
        for name, found in tried
    ]
    return (
        "Zero-shot: the class whose prompts have the larger cosine, with no threshold fitted. In a pair the two texts "
        "differ only in the finding.\n\n"
        + table(("prompts", "AUC", "balanced accuracy", *(f"recall, {name}" for name in prompts.class_names)), scores)
    )


def prompt_table(prompts: PromptSet, protocol: Protocol, *, k: int) -> str:
    """Write what each prompt finds as a table.

    Args:
        prompts: what was asked.
        protocol: of `evaluate_prompts`, in the same order.
        k: a cut-off of the protocol.

    Returns:
        Markdown without a heading.
    """
    result, expected, shown = protocol.result, protocol.chance, (f"precision_at_{k}", "average_precision")
    rows = [
        (
            prompt.text,
            prompts.class_names[prompt.label],
            *(float(each.values[name][place]) for name in shown for each in (result, expected)),
        )
        for place, prompt in enumerate(prompts.prompts)
    ]
    return (
        f"Prompts of file version {prompts.version}, fixed beforehand. An image is relevant if it has the prompt's "
        "class; chance is what a random ranking would score.\n\n"
        + table(("prompt", "class", f"precision@{k}", "chance", "average precision", "chance"), rows)
    )


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    text: str = Field(min_length=1)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: str = Field(min_length=1)
    prompts: dict[str, Annotated[list[_Entry], Field(min_length=1)]] = Field(min_length=2, max_length=2)
    pairs: list[tuple[str, str]] = []
