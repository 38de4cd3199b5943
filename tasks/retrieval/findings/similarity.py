"""Where queries and their nearest neighbours agree, and whether masking these places confirms it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.classifier.classifiers import Classifier
from models.classifier.preprocessing import Normalization
from models.explanation.similarity_maps import masking_drop, similarity_maps
from models.markdown import escape
from tasks.retrieval.analyses.failures import evenly_spaced
from tasks.retrieval.figures import similarity as figures
from tasks.retrieval.settings import BOOTSTRAP_SEED
from tasks.shared.figures import Source
from tasks.shared.findings import Findings
from tasks.shared.markdown import picture

_PICTURES = picture(
    "similarity_maps", "What each place of two images contributes to their cosine: bright places make them alike."
) + picture(
    "similarity_masking", "How the cosine falls without some places: the maps hold if their highest places count most."
)

MASKED_PAIRS = 96  # query and nearest neighbour, in the check of the similarity maps


def find_similar_places(
    model: Classifier,
    normalization: Normalization,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    nearest: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    rows: int,
    samples: int,
    source: Source,
) -> Findings:
    """Map where images and their nearest neighbours agree, and measure how the cosine falls when places are masked.

    Args:
        model: the classifier whose embedding is mapped.
        normalization: of its images.
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        labels: shape (images,).
        nearest: position of each image's nearest other image, shape (images,).
        class_names: by label.
        rows: pairs shown whose classes agree, and as many whose classes differ.
        samples: bootstrap samples.
        source: what the figures are made from.

    Returns:
        The findings.
    """
    right, wrong = (np.flatnonzero((labels[nearest] == labels) == agree) for agree in (True, False))
    queries = np.concatenate([evenly_spaced(right, rows), evenly_spaced(wrong, rows)])
    pairs = evenly_spaced(np.arange(len(images)), MASKED_PAIRS)
    drop = masking_drop(model, images[pairs], images[nearest[pairs]], normalization)
    falls = dict(zip(drop.orders, drop.falls.mean(axis=1).tolist(), strict=True))
    pictures = {
        "similarity_maps": figures.similarity_rows(
            images[queries],
            images[nearest[queries]],
            [f"test {query}" for query in queries],
            [f"test {neighbour}" for neighbour in nearest[queries]],
            labels[queries],
            labels[nearest[queries]],
            similarity_maps(model, images[queries], images[nearest[queries]], normalization),
            class_names,
            title="Where queries and their nearest test images agree",
            source=source,
        ),
        "similarity_masking": figures.masking_bars(drop, samples=samples, seed=BOOTSTRAP_SEED, source=source),
    }
    told = ", ".join(f"{order} {fall:.3f}" for order, fall in falls.items())
    text = (
        f"The cosine of two embeddings splits exactly into contributions of places. Where {drop.share:.0%} of "
        f"the neighbour's places are replaced by the mean grey, the cosine of {len(pairs)} pairs falls by, on "
        f"average: {told}. Maps that fall no more than those of another pair show what matters to the network "
        "in general, not to this pair.\n"
    )
    return Findings(
        name="similarity",
        metrics={f"similarity_map/fall_{order.replace(' ', '_')}": fall for order, fall in falls.items()},
        details={"pairs": pairs.tolist(), "share": drop.share, "falls": drop.falls.tolist()},
        figures=pictures,
        sections=(("Where they agree", _PICTURES + text),),
    )


def no_similar_places(encoder: str) -> Findings:
    """Say that the cosine of a probe's vectors cannot be split over places.

    Args:
        encoder: the encoder that the probe stands on.
    """
    told = (
        f"The vectors are those of the encoder {encoder}, which are no average over the places of an image, so their "
        "cosines cannot be split over places: no map is drawn."
    )
    return Findings("similarity", {}, {"pairs": []}, {}, (("Where they agree", f"{escape(told)}\n"),))
