"""Add: image files → the index that searches take; and out of it again."""

from prefect import flow
from prefect.logging import get_run_logger

from flows.support.naming import run_name
from flows.support.page import Page
from flows.support.terminal import print_line, print_table
from models.errors import InputError
from models.markdown import escape
from tasks.data.steps import read_picture
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.add import UNKNOWN, AddParameters
from tasks.records.retrieval import AddedPicturesRecord
from tasks.retrieval.published.added_list import read_added_list
from tasks.retrieval.published.additions import Change, NewCase, add_cases, any_published, remove_cases, renew_all
from tasks.retrieval.search_result import UNLABELLED
from tasks.shared.markdown import document, table

_ADD = AddParameters()
_COLUMNS = ("name", "class", "added", "SHA-256 of the pixels")
_DIGITS = 16  # of a digest that fit into a line of the terminal, and name a picture


@flow(name="add", flow_run_name=run_name)
@in_plain_words
def add(add: AddParameters = _ADD) -> AddedPicturesRecord:
    """Let searches find pictures too, with a class or without, or no longer; list what was added."""
    changes: dict[str, Change] = {}
    # No steps, whose answers are kept: files may change any time, and so may the list, which others change too.
    if add.remove:
        changes["taken out"] = remove_cases(add.remove)
    if add.images:
        size = any_published().dataset.size
        label = None if add.label == UNKNOWN else add.label
        changes["added"] = add_cases([NewCase(read_picture(path, size), label) for path in add.images])
    elif add.label != UNKNOWN:
        raise InputError(f"--add.label {add.label} is of no picture: name some with --add.images, or leave it out.")
    behind = list(changes.values())[-1].behind if changes else renew_all()
    told = [f"{len(change.changed)} {done}, {len(change.known)} were there before." for done, change in changes.items()]
    for name, why in behind.items():
        told.append(f"The index of the encoder {name} does not hold all that was added: {why}")
        get_run_logger().warning(told[-1])
    listed = read_added_list()
    rows = [
        (picture.name, picture.label or UNLABELLED, picture.added_at, picture.digest) for picture in listed.pictures
    ]
    sections = [("What searches find beside the images of the dataset", table(_COLUMNS, rows))]
    if told:
        sections.insert(0, ("This run", "\n\n".join(map(escape, told))))
    Page("add", {}, report=document("Added pictures", sections, phantoms=False)).show()
    shown = [(*row[:-1], row[-1][:_DIGITS]) for row in rows]
    print_table([(name, "left") for name in _COLUMNS], shown, title="added pictures")
    for line in told:
        print_line(line)
    return listed


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(add))
