"""From a case to what a generator of reports is told of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.report_generation import schema
from models.report_generation.regions import describe_region
from tasks.cases.case import Case


def gather_evidence(
    cases: Sequence[Case], maps: NDArray[np.floating], labels: Sequence[str]
) -> list[schema.Case | None]:
    """Gather what is told of cases: probability, heat region and similar cases of the first encoder.

    Args:
        cases: the cases.
        maps: evidence for two classes, in [0, 1], shape (cases, 2, height, width): of two classes both, of more the
            runner-up and the likeliest.
        labels: names of all classes.

    Returns:
        The evidence on each case, numbered by its place; None for one that cannot be read or is foreign, of which the
        classifier knows nothing that a report could say.
    """
    return [_evidence(place, case, maps[place], labels) if case.counts else None for place, case in enumerate(cases)]


def _evidence(place: int, case: Case, heat: NDArray[np.floating], labels: Sequence[str]) -> schema.Case:
    assert case.classification is not None
    said = case.classification
    if said.runner_up is None:
        named, threshold = (labels[0], labels[1]), said.threshold
    else:
        named, threshold = (said.runner_up[0], said.label), said.runner_up[1]
    # Of chest X-rays the evidence for pneumonia is told, whatever they are called; of others that for their label.
    explained = 1 if named == schema.CHEST_CLASSES else named.index(said.label)
    region = describe_region(heat[explained].astype(np.float64))
    return schema.Case(
        index=place,
        image_sha256=case.pixels,
        probability=said.probability,
        threshold=threshold,
        heat_region=region.words,
        heat_share=region.share,
        neighbours=tuple(
            schema.NeighbourEvidence(
                index=hit.index, label=hit.label, similarity=min(hit.similarity, 1.0), split=hit.split
            )
            for each in case.similar[:1]
            for hit in each.hits
        ),
        labels=named,
        two_classes=said.runner_up is None,
    )
