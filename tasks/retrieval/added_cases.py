"""Pictures that were added to a published index, as its encoder sees them.

The index that a run built stays as it is. What was added lies beside it, in parts, and is added to the index when a
search reads it. The parts are merged like those of a log-structured tree, each larger than the next, so that pictures
that are added one by one are rewritten seldom and read from few files.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.text import printable
from tasks.records.retrieval import AddedCase, AddedPicture, AddedVectorsRecord, SearchableRecord
from tasks.retrieval.vectors import read_index
from tasks.shared.model_size import to_model_size
from tasks.storage.store import DamagedFileError, Store

if TYPE_CHECKING:
    from models.vector_index import VectorIndex

NO_LABEL = -1
_AT_ONCE = 256  # pictures whose pixels are embedded together


class AddedGallery(NamedTuple):
    """What was added to one index.

    Attributes:
        cases: the pictures.
        vectors: of the index's encoder, shape (pictures, dimension).
        images: as the dataset has its images, shape (pictures, size, size), in colour (pictures, size, size, 3).
        labels: class of each picture, `NO_LABEL` where it has none, shape (pictures,).
    """

    cases: tuple[AddedCase, ...]
    vectors: NDArray[np.float32]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_added(store: Store, searchable: SearchableRecord) -> AddedGallery:
    """Read what was added to an index.

    Args:
        store: where it lies.
        searchable: the index.

    Returns:
        The pictures, in the order in which their ids follow those of the dataset's images.
    """
    parts = [store.get_arrays(part.arrays) for part in searchable.added]
    cases = tuple(case for part in searchable.added for case in part.cases)
    side, dimension = searchable.dataset.size, searchable.index.dimension
    shape = (0, side, side) if searchable.dataset.channels == 1 else (0, side, side, 3)
    names = searchable.dataset.labels
    return AddedGallery(
        cases,
        np.concatenate([np.empty((0, dimension), np.float32), *(part["vectors"] for part in parts)]),
        np.concatenate([np.empty(shape, np.uint8), *(part["images"] for part in parts)]),
        np.array([names.index(case.label) if case.label in names else NO_LABEL for case in cases], dtype=np.int64),
    )


def grown_index(store: Store, searchable: SearchableRecord, added: AddedGallery, name: str = "all") -> "VectorIndex":
    """Read an index with what was added to it; that of a class takes those of this class only.

    Args:
        store: where it lies.
        searchable: the index.
        added: what was added to it.
        name: `all`, or the name of a class.

    Returns:
        The index; the ids of what was added follow those of the dataset's images.
    """
    index = read_index(store, searchable.index, name)
    first = sum(searchable.dataset.counts.values())
    labels = searchable.dataset.labels
    rows = np.arange(len(added.cases)) if name == "all" else np.flatnonzero(added.labels == labels.index(name))
    if len(rows):
        index.add(added.vectors[rows], first + rows, added.labels[rows], encoder=searchable.encoder.identity)
    return index


def embed_added(
    store: Store,
    searchable: SearchableRecord,
    pictures: Sequence[AddedPicture],
    earlier: Sequence[AddedVectorsRecord],
) -> tuple[tuple[AddedVectorsRecord, ...], str]:
    """Make what an index holds beside its own images the added pictures, no more and no less.

    Args:
        store: where everything lies.
        searchable: the index.
        pictures: all that was added.
        earlier: parts that its encoder has embedded already, at the size of its images.

    Returns:
        The parts, and in words what they lack and why; empty where they lack nothing.
    """
    wanted = {picture.digest: picture for picture in pictures}
    parts = [kept for part in earlier if (kept := _only(store, part, wanted)) is not None]
    held = {case.digest for part in parts for case in part.cases}
    missing = [picture for picture in pictures if picture.digest not in held]
    problems: list[str] = []
    for start in range(0, len(missing), _AT_ONCE):
        try:
            embedded = _embed(store, searchable, missing[start : start + _AT_ONCE], problems)
        except InputError as error:  # the files of the encoder cannot be had
            problems.append(str(error))
            break
        if embedded is not None:
            parts.append(embedded)
    while len(parts) > 1 and len(parts[-2].cases) <= len(parts[-1].cases):
        parts[-2:] = [_merged(store, parts[-2], parts[-1])]
    return tuple(parts), problems[0] if problems else ""


def _embed(
    store: Store, searchable: SearchableRecord, pictures: Sequence[AddedPicture], problems: list[str]
) -> AddedVectorsRecord | None:
    from tasks.retrieval import encoders  # what they are made of takes seconds to import

    images, cases = [], []
    for picture in pictures:
        try:
            original = store.get_arrays(picture.arrays)["original"]
        except DamagedFileError as error:
            problems.append(f"The pixels of {printable(picture.name, 60)} are lost ({printable(error)}): add it again.")
            continue
        images.append(to_model_size(original, searchable.dataset.size))
        cases.append(picture)
    if not cases:
        return None
    vectors = encoders.load(searchable.encoder).encode_images(np.stack(images))
    sound = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)  # others have no direction
    problems += [f"{printable(cases[row].name, 60)} has no embedding." for row in np.flatnonzero(~sound)]
    rows = np.flatnonzero(sound)
    return _part(store, [cases[row] for row in rows], vectors[rows], np.stack(images)[rows]) if len(rows) else None


def _only(store: Store, part: AddedVectorsRecord, wanted: Mapping[str, AddedPicture]) -> AddedVectorsRecord | None:
    """Keep of a part what is wanted; None where nothing is, or its file is damaged, which is then made anew."""
    rows = [row for row, case in enumerate(part.cases) if case.digest in wanted]
    cases = [wanted[part.cases[row].digest] for row in rows]
    if not store.intact(part.arrays) or not rows:
        return None
    if len(rows) == len(part.cases):
        return AddedVectorsRecord(cases=tuple(map(_case, cases)), arrays=part.arrays)
    arrays = store.get_arrays(part.arrays)
    return _part(store, cases, arrays["vectors"][rows], arrays["images"][rows])


def _merged(store: Store, *parts: AddedVectorsRecord) -> AddedVectorsRecord:
    arrays = [store.get_arrays(part.arrays) for part in parts]
    vectors, images = (np.concatenate([each[name] for each in arrays]) for name in ("vectors", "images"))
    return _part(store, [case for part in parts for case in part.cases], vectors, images)


def _part(
    store: Store, cases: Sequence[AddedCase], vectors: NDArray[np.float32], images: NDArray[np.uint8]
) -> AddedVectorsRecord:
    arrays = store.put_arrays({"vectors": vectors, "images": images})
    return AddedVectorsRecord(cases=tuple(map(_case, cases)), arrays=arrays)


def _case(case: AddedCase) -> AddedCase:
    return AddedCase(digest=case.digest, name=case.name, label=case.label, added_at=case.added_at)
