"""Texts as queries: what the prompts find, and how well they alone tell the classes apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.markdown import escape
from tasks.retrieval.analyses import text_queries
from tasks.retrieval.analyses.text_queries import PromptSet
from tasks.retrieval.figures import text_queries as figures
from tasks.retrieval.settings import BOOTSTRAP_SEED, FAILURE_K
from tasks.retrieval.vectors import LabelledVectors, exact_neighbours
from tasks.shared.figures import Source
from tasks.shared.findings import Findings
from tasks.shared.markdown import picture

_PICTURES = (
    picture("prompt_precision", "What each prompt finds: what it gains is the distance to the dashed line of chance.")
    + picture("zero_shot", "How well the prompts alone tell the classes apart: at the dashed line they do not.")
    + picture("prompt_gallery", "The best and the worst prompt of each class, and the images nearest to them.")
)


def find_by_text(
    prompts: PromptSet,
    prompt_vectors: NDArray[np.floating],
    images: NDArray[np.uint8],
    test: LabelledVectors,
    *,
    k_values: Sequence[int],
    samples: int,
    source: Source,
) -> Findings:
    """Search the images by each prompt, and classify them by the prompts alone.

    Args:
        prompts: what is asked; their classes are those of the images.
        prompt_vectors: shape (prompts, dimension).
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        test: their vectors, of the same encoder.
        k_values: cut-offs, `FAILURE_K` among them.
        samples: bootstrap samples.
        source: what the figures are made from.

    Returns:
        The findings.
    """
    vectors, labels = test.vectors, test.labels
    protocol = text_queries.evaluate_prompts(prompt_vectors, prompts.labels, vectors, labels, k_values)
    bootstrap = {"samples": samples, "seed": BOOTSTRAP_SEED}
    ensemble = text_queries.zero_shot(prompt_vectors, prompts.labels, vectors, labels, **bootstrap)
    pairs = text_queries.zero_shot_by_pair(prompts, prompt_vectors, vectors, labels, **bootstrap)
    chosen = text_queries.best_and_worst(protocol.result, k=FAILURE_K)
    everywhere = [np.arange(len(labels), dtype=np.int64)] * len(chosen)
    together = np.concatenate([vectors, prompt_vectors])
    near = exact_neighbours(together, len(vectors) + chosen, everywhere, FAILURE_K)
    pictures = {
        "prompt_precision": figures.prompt_precision(prompts, protocol, k=FAILURE_K, source=source),
        "zero_shot": figures.zero_shot_overview(prompts, ensemble, pairs, labels, source=source),
        "prompt_gallery": figures.prompt_gallery(
            prompts,
            chosen,
            images[near.ids],
            labels[near.ids],
            near,
            title="The best and the worst prompt of each class, and their nearest test images",
            source=source,
        ),
    }
    return Findings(
        name="texts",
        metrics=text_queries.text_metrics(protocol, ensemble, pairs, prompts.class_names),
        details={"version": prompts.version, "prompts": prompts.texts},
        figures=pictures,
        sections=(
            ("Text → image", _PICTURES + text_queries.text_markdown(ensemble, pairs, prompts)),
            ("Text → image, prompt by prompt", text_queries.prompt_table(prompts, protocol, k=FAILURE_K)),
        ),
    )


def no_prompts_apply(prompts: PromptSet, class_names: Sequence[str]) -> Findings:
    """Say that the prompts describe other classes than those of the dataset."""
    told = (
        f"The prompts of file version {prompts.version} describe X-rays of the classes "
        f"{' and '.join(prompts.class_names)}, but the classes of this dataset are {', '.join(class_names)}: no "
        "text is searched for."
    )
    sections = (("Text → image", f"{escape(told)}\n"),)
    return Findings("texts", {}, {"version": prompts.version, "prompts": []}, {}, sections)
