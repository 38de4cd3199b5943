"""The list of all pictures that were added to what searches find: one JSON file of the store.

It says what was added, whichever encoders have an index and whichever run built it: a published index holds what this
list does. It is written whole or not at all, by one process at a time.
"""

import contextlib
from collections.abc import Iterator

from filelock import FileLock

from models.bounded_json import parse_json
from models.errors import InputError
from models.text import printable
from tasks.records.retrieval import AddedPicture, AddedPicturesRecord
from tasks.storage.locations import locks
from tasks.storage.store import Store

NAME = "retrieval/added/pictures.json"


def read_added_list() -> AddedPicturesRecord:
    """Read what was added.

    Raises:
        InputError: the list is damaged.
    """
    content = Store().read(NAME)
    if content is None:
        return AddedPicturesRecord()
    try:
        return AddedPicturesRecord.model_validate(parse_json(content))
    except ValueError as error:
        raise InputError(
            f"The list of added pictures, {NAME} in the store, is damaged ({printable(error)}): put it back from a "
            "backup, or remove it and add the pictures again."
        ) from error


@contextlib.contextmanager
def changed_list() -> Iterator[dict[str, AddedPicture]]:
    """Change the list within the block, alone; an error within it leaves the list as it was.

    Yields:
        The pictures by their digests, to be changed in place.
    """
    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / "added-pictures.lock"):
        before = read_added_list()
        pictures = {picture.digest: picture for picture in before.pictures}
        yield pictures
        after = AddedPicturesRecord(pictures=tuple(pictures.values()))
        if after != before:
            Store().write(NAME, after.model_dump_json(ensure_ascii=True).encode())
