"""One search: from a question to the cases nearest to it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.vector_index.diversity import diversify
from tasks.parameters.search import SearchParameters
from tasks.records.data import PictureRecord
from tasks.records.retrieval import SearchableRecord
from tasks.retrieval import encoders
from tasks.retrieval.added_cases import grown_index, read_added
from tasks.retrieval.search_result import ADDED, Query, SearchedIndex, SearchResult, rank_hits
from tasks.retrieval.settings import SPLITS
from tasks.retrieval.vectors import read_vectors
from tasks.storage.store import Store

CANDIDATES = 10  # so many times as many cases as are asked for are looked at where they are to differ


class Question(NamedTuple):
    """What is searched for.

    Attributes:
        query: its description.
        vector: shape (1, dimension).
        image: what was embedded, shape (height, width) or (height, width, 3); None for a text.
        original: the picture of an image file before it was cropped and resized; else None.
        own: its id in the index, shape (1,), where it is an item of the dataset; else None.
    """

    query: Query
    vector: NDArray[np.floating]
    image: NDArray[np.uint8] | None = None
    original: NDArray[np.uint8] | None = None
    own: NDArray[np.int64] | None = None


def search_cases(
    store: Store, searchable: SearchableRecord, search: SearchParameters, picture: PictureRecord | None
) -> tuple[Question, SearchResult, NDArray[np.uint8]]:
    """Find the cases nearest to one query, among the splits and the class that the form names.

    Args:
        store: where everything lies.
        searchable: the images, and an encoder with its index over them.
        search: the form.
        picture: the image file, where one is searched for.

    Returns:
        What was searched for, the cases by name, and their images in the same order, 0–255.

    Raises:
        InputError: the text is none or too long, or fewer cases than asked for are left to be found.
    """
    dataset = searchable.dataset
    arrays = store.get_arrays(dataset.splits)
    question = _question(store, searchable, search, picture, arrays)
    added = read_added(store, searchable)
    arrays |= {f"{ADDED}_images": added.images, f"{ADDED}_labels": added.labels}
    parts = (*SPLITS, ADDED)
    counts = [len(arrays[f"{part}_labels"]) for part in parts]
    splits = np.repeat(parts, counts)
    indices = np.concatenate([np.arange(count) for count in counts])
    labels = np.concatenate([arrays[f"{part}_labels"] for part in parts])
    label = None if search.among_class == "both" else dataset.labels.index(search.among_class)
    searched = [*search.among_splits, *([ADDED] if search.among_added else [])]
    among = np.isin(splits, searched) & ((label is None) | (labels == label))
    index, allowed = grown_index(store, searchable, added), np.flatnonzero(among)
    available = len(allowed) - (question.own is not None and bool(among[question.own[0]]))
    fetched = search.k if search.diversity == 0 else max(search.k, min(CANDIDATES * search.k, available))
    found = index.search(
        question.vector, fetched, encoder=searchable.encoder.identity, exclude=question.own, allowed=allowed
    )
    chosen = diversify(question.vector[0], index.vectors(found.ids[0]), search.k, search.diversity)
    ids = found.ids[0][chosen]
    result = SearchResult(
        query=question.query,
        encoder=searchable.encoder.name,
        encoder_identity=searchable.encoder.identity,
        index=SearchedIndex(
            run_id=searchable.run_id,
            published_at=searchable.published_at,
            dataset=dataset.title,
            dataset_digest=dataset.digest,
            images=dataset.counts,
            added=len(added.cases) if search.among_added else 0,
        ),
        class_names=dataset.labels,
        splits=tuple(search.among_splits),
        label=label,
        k=search.k,
        measure="similarity" if found.metric == "cosine" else "distance",
        diversity=search.diversity,
        hits=rank_hits(
            found.similarities[0][chosen],
            ids,
            np.arange(len(labels)),
            splits.tolist(),
            indices,
            labels,
            added.cases,
            found.metric,
        ),
        phantoms=dataset.phantoms,
    )
    images = np.stack([arrays[f"{splits[place]}_images"][indices[place]] for place in ids])
    return question, result, images


def _question(
    store: Store,
    searchable: SearchableRecord,
    search: SearchParameters,
    picture: PictureRecord | None,
    arrays: dict[str, NDArray[Any]],
) -> Question:
    if search.index is not None:
        image, label = arrays[f"{search.split}_images"][search.index], arrays[f"{search.split}_labels"][search.index]
        return Question(
            Query.from_item(search.split, search.index, int(label), image),
            read_vectors(store, searchable.embeddings, search.split)[search.index][None],
            image,
            own=np.array([searchable.index.offsets[search.split] + search.index], dtype=np.int64),
        )
    if picture is not None:
        pixels = store.get_arrays(picture.arrays)
        query = Query.from_file(picture.name, pixels["original"])
        vector = encoders.load(searchable.encoder).encode_images(pixels["image"][None])
        return Question(query, vector, pixels["image"], pixels["original"])
    query = Query.from_text(search.text or "")
    return Question(query, encoders.load(searchable.encoder).encode_texts([query.name]))
