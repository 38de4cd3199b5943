"""Which index searches take: the one in use, and whether a run's own replaces it.

Publishing is guarded like the promotion of a classifier. An index over a part of the data is a trial and stays out; one
over whole data must find no worse than the one in use, leave-one-out on validation. A form's `publish` overrides both.
Each dataset has its own: that of one never replaces another's. Phantoms are a dataset of their own: their index lies
beside that of real data, which it never replaces, and is searched where there is no other.

An encoder's index in use is one JSON file of the store, written whole or not at all. Two runs of one machine never
decide at once. What was added to that of the chest X-rays, by `tasks.retrieval.published.additions`, is carried over to
the next one.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from filelock import FileLock

from models.bounded_json import parse_json
from models.choices import Publish
from models.errors import InputError
from models.text import printable
from tasks.records.data import CHEST_X_RAYS
from tasks.records.retrieval import AddedVectorsRecord, SearchableRecord
from tasks.retrieval.added_cases import embed_added
from tasks.retrieval.published.added_list import read_added_list
from tasks.retrieval.published.index_comparison import compare
from tasks.retrieval.settings import BOOTSTRAP_SEED, SPLITS
from tasks.retrieval.vectors import offsets, read_vectors
from tasks.storage.locations import locks
from tasks.storage.store import DamagedFileError, Store

_NEVERTHELESS = "to search it nevertheless, run with --retrieval.publish always"


@dataclass(frozen=True)
class Publication:
    """Whether searches take a run's index.

    Attributes:
        published: whether they do now.
        reason: why, in words.
    """

    published: bool
    reason: str


def pointer(name: str, *, phantoms: bool, dataset: str = CHEST_X_RAYS) -> str:
    """Name the file that says which index of an encoder is in use."""
    folder = "phantoms/" if phantoms else "" if dataset == CHEST_X_RAYS else f"{dataset}/"
    return f"retrieval/{folder}{name}.json"


def in_use(name: str, *, phantoms: bool, dataset: str = CHEST_X_RAYS) -> SearchableRecord | None:
    """Read which index of an encoder is in use, where it says over which images it is.

    Args:
        name: of the encoder.
        phantoms: whether that over phantoms is meant.
        dataset: MedMNIST's name of the images.

    Returns:
        The index; None where none was published.

    Raises:
        DamagedFileError: as `_read`, or it was published by an earlier version, which did not say what it is.
    """
    found = _read(name, phantoms=phantoms, dataset=dataset)
    if found is not None and not found.run_id:
        raise DamagedFileError("it was published by an earlier version, which did not say over which images it is")
    return found


def find_published(name: str, dataset: str = CHEST_X_RAYS) -> SearchableRecord:
    """Find the index of an encoder that searches take: that over real data, and where there is none, over phantoms.

    Args:
        name: of the encoder.
        dataset: MedMNIST's name of the images.

    Returns:
        The index.

    Raises:
        InputError: none was published, or it is damaged.
    """
    named = "" if dataset == CHEST_X_RAYS else f" --dataset.name {dataset}"
    again = f"(`python -m flows.retrieval{named} --retrieval.encoders {name}`, or the deployment `retrieval`)."
    for phantoms in (False, True) if dataset == CHEST_X_RAYS else (False,):
        try:
            found = _read(name, phantoms=phantoms, dataset=dataset)
        except DamagedFileError as error:
            raise InputError(
                f"The index that {pointer(name, phantoms=phantoms, dataset=dataset)} in the store names is damaged "
                f"({printable(error)}): run the retrieval flow again {again}"
            ) from error
        if found is not None:
            if not all(Store().intact(part.arrays) for part in found.added):
                raise InputError(
                    f"What was added to the index of the encoder {name} is damaged in the store: run `python -m "
                    "flows.add`, which makes it anew."
                )
            return found
    over = "" if dataset == CHEST_X_RAYS else f" over {dataset}"
    raise InputError(
        f"There is no index of the encoder {name}{over} yet: run the retrieval flow with it first, over whole data "
        f"{again}"
    )


def publish(candidate: SearchableRecord, wanted: Publish, samples: int) -> Publication:
    """Make a run's index the one that searches take, if it may be.

    Args:
        candidate: the index, with the run that built it.
        wanted: the form's `publish`.
        samples: bootstrap samples of the comparison.

    Returns:
        The decision.
    """
    name, phantoms = candidate.encoder.name, candidate.dataset.phantoms
    with _alone(name):
        try:
            known = in_use(name, phantoms=phantoms, dataset=candidate.dataset.name)
        except DamagedFileError as error:
            known, damaged = None, f"The index in use cannot be read ({error}), so that this one takes its place."
        else:
            damaged = ""
        if known is not None and known.same_content(candidate):
            # What is no part of its identity may have moved, a folder of weights for instance.
            decision = Publication(True, f"It is the index in use already, built by the run {known.run_id}.")
            run_id, published_at = known.run_id, known.published_at
        else:
            decision = _decide(candidate, known, wanted, samples, damaged)
            run_id, published_at = candidate.run_id, datetime.now(UTC).isoformat(timespec="seconds")
        if not decision.published:
            return decision
        named = candidate.model_copy(update={"run_id": run_id, "published_at": published_at})
        grown, problem = named, ""
        if candidate.dataset.name == CHEST_X_RAYS:  # the pictures that people add are of these
            grown, problem = _with_additions(named, _embedded_by(candidate, known))
        _write(grown)
        return (
            replace(decision, reason=f"{decision.reason} It lacks an added picture: {problem}") if problem else decision
        )


def renew(name: str) -> str:
    """Let the published indices of an encoder hold what was added, no more and no less.

    Args:
        name: of the encoder.

    Returns:
        In words what they lack and why; empty where they lack nothing, or there are none.
    """
    problems = []
    with _alone(name):
        for phantoms in (False, True):
            try:
                known = _read(name, phantoms=phantoms)
            except DamagedFileError as error:
                problems.append(
                    f"The index that {pointer(name, phantoms=phantoms)} names is damaged ({printable(error)})."
                )
                continue
            if known is not None:
                grown, problem = _with_additions(known, known.added)
                problems.append(problem)
                if grown != known:
                    _write(grown)
    return " ".join(filter(None, problems))


def is_published(name: str) -> bool:
    """Tell whether an encoder has an index that searches take."""
    return any(Store().read(pointer(name, phantoms=phantoms)) is not None for phantoms in (False, True))


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Keep other processes of this machine from the index of an encoder within the block."""
    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / f"index-{name}.lock"):
        yield


def _embedded_by(candidate: SearchableRecord, known: SearchableRecord | None) -> tuple[AddedVectorsRecord, ...]:
    """Return what the index in use holds of added pictures, where a new one sees them alike."""
    if known is None or (known.encoder.identity, known.dataset.size) != (
        candidate.encoder.identity,
        candidate.dataset.size,
    ):
        return ()
    return known.added


def _with_additions(
    searchable: SearchableRecord, earlier: tuple[AddedVectorsRecord, ...]
) -> tuple[SearchableRecord, str]:
    """Return an index with all that was added, and in words what it lacks of that and why."""
    added, problem = embed_added(Store(), searchable, read_added_list().pictures, earlier)
    return searchable.model_copy(update={"added": added}), problem


def _decide(
    candidate: SearchableRecord, known: SearchableRecord | None, wanted: Publish, samples: int, damaged: str
) -> Publication:
    dataset = candidate.dataset
    if wanted == "never":
        return Publication(False, "Not published: the form says never.")
    if wanted == "always":
        return Publication(True, "Published, since the form says always.")
    if dataset.limit is not None:
        return Publication(
            False,
            f"Not published, since it is a trial: it holds only the first {dataset.limit} images of each split; "
            f"{_NEVERTHELESS}.",
        )
    if known is None:
        over = "whole data" if dataset.name == CHEST_X_RAYS else f"the whole of {dataset.name}"
        return Publication(True, damaged or f"The first index of the encoder {candidate.encoder.name} over {over}.")
    if known.dataset.limit is not None:
        return Publication(
            True, f"The index in use holds only the first {known.dataset.limit} images of each split, this one all."
        )
    store = Store()
    arrays, others = store.get_arrays(dataset.splits), store.get_arrays(known.dataset.splits)
    if not all(np.array_equal(arrays[part], others[part]) for part in ("val_images", "val_labels")):
        return Publication(
            False,
            f"Not published: the index in use, of the run {known.run_id}, is over {known.dataset.title} at "
            f"{known.dataset.size} pixels with other validation images, so that the two cannot be compared; "
            f"{_NEVERTHELESS}.",
        )
    holds, held = sum(dataset.counts.values()), sum(known.dataset.counts.values())
    if holds < held:
        return Publication(
            False, f"Not published: it holds {holds} images, the one in use, of the run {known.run_id}, {held}; "
            f"{_NEVERTHELESS}.",
        )  # fmt: skip
    try:
        new, old = (read_vectors(store, each.embeddings, "val") for each in (candidate, known))
        similarities = candidate.embeddings.similarity, known.embeddings.similarity
        found = compare(new, old, arrays["val_labels"], samples, BOOTSTRAP_SEED, similarities)
    except InputError as error:
        return Publication(
            False, f"Not published: it cannot be compared with the one in use, of the run {known.run_id} ({error}); "
            f"{_NEVERTHELESS}.",
        )  # fmt: skip
    if found.no_worse:
        return Publication(True, found.reason)
    return Publication(False, f"Not published. {found.reason} In use stays that of the run {known.run_id}.")


def _read(name: str, *, phantoms: bool, dataset: str = CHEST_X_RAYS) -> SearchableRecord | None:
    """Read a published index, and check that all of it is there, but for what was added, and belongs together.

    Raises:
        DamagedFileError: the record or a file that it names is damaged, or they contradict each other.
    """
    store = Store()
    content = store.read(pointer(name, phantoms=phantoms, dataset=dataset))
    if content is None:
        return None
    try:
        found = SearchableRecord.model_validate(parse_json(content))
    except ValueError as error:
        raise DamagedFileError("its record is damaged or of another version") from error
    for file in found.model_copy(update={"added": ()}).stored_files():
        store.get(file)
    if not _belongs_together(store, found):
        raise DamagedFileError("images, vectors and index do not belong to each other")
    return found


def _belongs_together(store: Store, found: SearchableRecord) -> bool:
    arrays, shards = store.get_arrays(found.dataset.splits), found.embeddings.shards
    try:
        images = {split: len(arrays[f"{split}_labels"]) for split in SPLITS}
        vectors = {split: sum(shard.shape[0] for shard in shards[split]) for split in SPLITS}
        return images == vectors == found.dataset.counts and found.index.offsets == offsets(found.dataset)
    except KeyError:
        return False


def _write(searchable: SearchableRecord) -> None:
    dataset = searchable.dataset
    name = pointer(searchable.encoder.name, phantoms=dataset.phantoms, dataset=dataset.name)
    Store().write(name, searchable.model_dump_json(ensure_ascii=True).encode())
