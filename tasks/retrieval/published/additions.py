"""Add pictures to what searches find, without a run that builds an index, and take them out again.

A picture is known by the digest of its pixels: the same one again changes nothing. Two processes at once lose nothing:
each changes the list of what was added alone, and then lets every published index hold what the list says. What was
interrupted between the two is completed by the next one, or by the next index that is published.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from models.choices import ENCODERS
from models.errors import InputError
from models.text import printable
from tasks.records.data import PictureRecord
from tasks.records.retrieval import AddedCase, AddedPicture, SearchableRecord
from tasks.retrieval.published.added_list import changed_list
from tasks.retrieval.published.publication import find_published, is_published, renew
from tasks.retrieval.search_result import UNLABELLED, pixel_digest
from tasks.storage.store import Store

SHORTEST_DIGEST = 8  # digits by which a picture may be named


class NewCase(NamedTuple):
    """A picture to add.

    Attributes:
        picture: its pixels, and the name by which searches show it.
        label: its class; None where it is not known.
    """

    picture: PictureRecord
    label: str | None = None


class Change(NamedTuple):
    """What became of pictures.

    Attributes:
        changed: those that were added, or taken out.
        known: those that had been added before.
        behind: encoders whose index does not hold all that was added, and why.
    """

    changed: tuple[AddedCase, ...]
    known: tuple[AddedCase, ...]
    behind: dict[str, str]


def any_published() -> SearchableRecord:
    """Find one of the published indices.

    Raises:
        InputError: there is none, or it is damaged.
    """
    name = next((name for name in ENCODERS if is_published(name)), next(iter(ENCODERS)))
    return find_published(name)


def add_cases(new: Sequence[NewCase]) -> Change:
    """Add pictures to every published index.

    Args:
        new: the pictures.

    Returns:
        What became of them.

    Raises:
        InputError: there is no index, a class is unknown, or a picture was added before with another class. Then none
            was added.
    """
    store, classes = Store(), any_published().dataset.labels
    if unknown := [case.label for case in new if case.label not in (None, *classes)]:
        raise InputError(
            f"There is no class {printable(unknown[0], 40)}: expected one of {printable(', '.join(classes))}, or none "
            "where it is not known."
        )
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    added, known = [], []
    with changed_list() as pictures:
        for picture, label in new:
            digest = pixel_digest(store.get_arrays(picture.arrays)["original"])
            there = pictures.get(digest)
            if there is None:
                pictures[digest] = AddedPicture(
                    digest=digest, name=picture.name, label=label, added_at=moment, arrays=picture.arrays
                )
                added.append(pictures[digest])
            elif label in (None, there.label):
                known.append(there)
            else:
                raise InputError(
                    f"{printable(picture.name, 40)} was added before, as {printable(there.name, 40)}, "
                    f"{there.label or UNLABELLED}: take it out first (`--add.remove {digest[:SHORTEST_DIGEST]}`), then "
                    f"add it as {label}."
                )
    return Change(tuple(added), tuple(known), renew_all())


def remove_cases(digests: Sequence[str]) -> Change:
    """Take pictures out of every published index.

    Args:
        digests: of their pixels, or the first digits of these, hexadecimal.

    Returns:
        What became of them.

    Raises:
        InputError: one names none of the added pictures, or several. Then none was taken out.
    """
    removed = []
    with changed_list() as pictures:
        for wanted in dict.fromkeys(digests):
            found = [digest for digest in pictures if digest.startswith(wanted.strip().lower())]
            if len(found) != 1 or len(wanted.strip()) < SHORTEST_DIGEST:
                several = f"{len(found)} added pictures" if found else "none of the added pictures"
                raise InputError(
                    f"--add.remove {printable(wanted, 70)} names {several}: expected the digest of one, or its first "
                    f"{SHORTEST_DIGEST} digits or more; `python -m flows.add` lists them."
                )
            removed.append(pictures.pop(found[0]))
    return Change(tuple(removed), (), renew_all())


def renew_all() -> dict[str, str]:
    """Let every published index hold what the list says, and make anew what is damaged.

    Returns:
        Encoders whose index lacks something, and why.
    """
    problems = {name: renew(name) for name in ENCODERS}
    return {name: problem for name, problem in problems.items() if problem}
