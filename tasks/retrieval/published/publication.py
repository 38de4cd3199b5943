"""Which index searches take: the one in use, and whether a run's own replaces it.

Publishing is guarded like the promotion of a classifier. An index over a part of the data is a trial and stays out; one
over whole data must find no worse than the one in use, leave-one-out on validation. A form's `publish` overrides both.
Phantoms are a dataset of their own: their index lies beside that of real data, which it never replaces, and is searched
where there is no other.

An encoder's index in use is one JSON file of the store, written whole or not at all. Two runs of one machine never
decide at once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from filelock import FileLock

from models.bounded_json import parse_json
from models.choices import Publish
from models.errors import InputError
from models.text import printable
from tasks.records.retrieval import SearchableRecord
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


def pointer(name: str, *, phantoms: bool) -> str:
    """Name the file that says which index of an encoder is in use."""
    return f"retrieval/{'phantoms/' if phantoms else ''}{name}.json"


def in_use(name: str, *, phantoms: bool) -> SearchableRecord | None:
    """Read which index of an encoder is in use, where it says over which images it is.

    Args:
        name: of the encoder.
        phantoms: whether that over phantoms is meant.

    Returns:
        The index; None where none was published.

    Raises:
        DamagedFileError: as `_read`, or it was published by an earlier version, which did not say what it is.
    """
    found = _read(name, phantoms=phantoms)
    if found is not None and not found.run_id:
        raise DamagedFileError("it was published by an earlier version, which did not say over which images it is")
    return found


def find_published(name: str) -> SearchableRecord:
    """Find the index of an encoder that searches take: that over real data, and where there is none, over phantoms.

    Raises:
        InputError: none was published, or it is damaged.
    """
    again = f"(`python -m flows.retrieval --retrieval.encoders {name}`, or the deployment `retrieval`)."
    for phantoms in (False, True):
        try:
            found = _read(name, phantoms=phantoms)
        except DamagedFileError as error:
            raise InputError(
                f"The index that {pointer(name, phantoms=phantoms)} in the store names is damaged "
                f"({printable(error)}): run the retrieval flow again {again}"
            ) from error
        if found is not None:
            return found
    raise InputError(
        f"There is no index of the encoder {name} yet: run the retrieval flow with it first, over whole data {again}"
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
    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / f"index-{name}.lock"):
        try:
            known = in_use(name, phantoms=phantoms)
        except DamagedFileError as error:
            known, damaged = None, f"The index in use cannot be read ({error}), so that this one takes its place."
        else:
            damaged = ""
        if known is not None and known.same_content(candidate):
            # What is no part of its identity may have moved, a folder of weights for instance.
            _write(candidate.model_copy(update={"run_id": known.run_id, "published_at": known.published_at}))
            return Publication(True, f"It is the index in use already, built by the run {known.run_id}.")
        decision = _decide(candidate, known, wanted, samples, damaged)
        if decision.published:
            _write(candidate.model_copy(update={"published_at": datetime.now(UTC).isoformat(timespec="seconds")}))
        return decision


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
        return Publication(True, damaged or f"The first index of the encoder {candidate.encoder.name} over whole data.")
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
        found = compare(new, old, arrays["val_labels"], samples, BOOTSTRAP_SEED)
    except InputError as error:
        return Publication(
            False, f"Not published: it cannot be compared with the one in use, of the run {known.run_id} ({error}); "
            f"{_NEVERTHELESS}.",
        )  # fmt: skip
    if found.no_worse:
        return Publication(True, found.reason)
    return Publication(False, f"Not published. {found.reason} In use stays that of the run {known.run_id}.")


def _read(name: str, *, phantoms: bool) -> SearchableRecord | None:
    """Read a published index, and check that all of it is there and belongs together.

    Raises:
        DamagedFileError: the record or a file that it names is damaged, or they contradict each other.
    """
    store = Store()
    content = store.read(pointer(name, phantoms=phantoms))
    if content is None:
        return None
    try:
        found = SearchableRecord.model_validate(parse_json(content))
    except ValueError as error:
        raise DamagedFileError("its record is damaged or of another version") from error
    for file in found.stored_files():
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
    name = pointer(searchable.encoder.name, phantoms=searchable.dataset.phantoms)
    Store().write(name, searchable.model_dump_json().encode())
