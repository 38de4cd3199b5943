"""What the page of a case shows: the picture itself, read once more, beside all that was computed of it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from models.errors import InputError
from models.report_generation.schema import Answer
from tasks.cases import sources
from tasks.cases.pages import CaseView
from tasks.cases.stored_cases import load_cases
from tasks.data.pictures.image_file import read_picture_file
from tasks.records.cases import ShownRecord
from tasks.reports.pages import Claim
from tasks.storage.store import Store


def case_views(
    store: Store,
    shown: ShownRecord,
    places: range,
    answers: Sequence[Answer] = (),
    claims: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> Iterator[CaseView]:
    """Gather what the pages of some cases show, one at a time, since an original may be large.

    Args:
        store: where everything lies.
        shown: the cases, all of which could be read.
        places: which of them.
        answers: what came of the reports that were asked for, by the place of the case.
        claims: kind, words and status of the unsupported claims, by row id.

    Yields:
        What is shown of a case. Of a file that is gone by now it is the picture as the classifier saw it.
    """
    arrays, cases = store.get_arrays(shown.explained.arrays), load_cases(store, shown.judged)
    splits = {each.encoder.name: store.get_arrays(each.dataset.splits) for each in shown.searchables}
    names, colour = shown.reference.labels, shown.reference.channels == 3
    for place in places:
        file, case = shown.files.files[place], cases[place]
        try:
            picture = read_picture_file(sources.read(file), file.name, colour=colour).levels
        except InputError:
            picture = arrays["images"][place]
        yield CaseView(
            case=case,
            picture=picture,
            image=arrays["images"][place],
            heat={
                names[target]: heat.astype(np.float64)
                for target, heat in zip(arrays["targets"][place], arrays["maps"][place], strict=True)
            },
            neighbours={
                each.encoder: [splits[each.encoder][f"{hit.split}_images"][hit.index] for hit in each.hits]
                for each in case.similar
            },
            answers=[answer for answer in answers if answer.case_index == place],
            class_names=names,
            claims={row: [Claim(*claim) for claim in found] for row, found in (claims or {}).items()},
        )
