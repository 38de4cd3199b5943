"""Labels that a person has corrected, from the list of doubtful ones that a label audit writes.

Only training labels are corrected: validation and test, which decide and judge, stay those of everybody.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.text import printable

COLUMNS = ("index", "split", "corrected")


@dataclass(frozen=True)
class Correction:
    """A label that a person has changed.

    Attributes:
        index: of the image in the training split.
        given: its label in the file.
        corrected: its label from now on.
    """

    index: int
    given: int
    corrected: int


def read_corrections(
    content: bytes, name: str, labels: NDArray[np.integer], classes: Sequence[str]
) -> tuple[Correction, ...]:
    """Read a list of doubtful labels in which a person has filled in the column `corrected`.

    Args:
        content: CSV with the columns `index`, `split` and `corrected`, in any order, separated by commas or, as some
            spreadsheets write it, by semicolons; others are left alone, but `given` has to be what the file says. A row
            whose `corrected` is blank or the given label changes nothing.
        name: what messages call the file.
        labels: of the training split, shape (images,).
        classes: names of the classes, by label.

    Returns:
        The labels that change, by index.

    Raises:
        InputError: it is no such list, or a row of it is wrong; the message names the line.
    """
    named = printable(name, 80)
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{named} is no text in UTF-8: save it as CSV UTF-8.") from error
    header = lines[0] if lines else ""
    rows = csv.DictReader(lines, delimiter=";" if header.count(";") > header.count(",") else ",", strict=True)
    found: dict[int, Correction] = {}
    seen: dict[int, int] = {}
    try:
        missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise InputError(
                f"{named} lacks the column {', '.join(missing)} in line 1: expected index, split and corrected, as in "
                "doubtful_labels.csv of a run."
            )
        for row in rows:
            where = f"{named}, line {rows.line_num}"
            index = _index(row, where, len(labels))
            if index in seen:
                raise InputError(f"{where}: image {index} was in line {seen[index]} already: keep one of the two.")
            seen[index] = rows.line_num
            given = int(labels[index])
            _check_given(row, where, index, classes[given])
            word = (row["corrected"] or "").strip()
            if not word:
                continue
            if word not in classes:
                raise InputError(
                    f"{where}: '{printable(word, 30)}' is no class: expected one of "
                    f"{printable(', '.join(classes))}, or nothing."
                )
            if classes.index(word) != given:
                found[index] = Correction(index, given, classes.index(word))
    except csv.Error as error:
        told = printable(error, 60)
        raise InputError(f"{named}, near line {rows.line_num}, is no CSV ({told}): save it again.") from error
    if not found:
        raise InputError(f"{named} changes no label: fill in the column corrected, or leave --dataset.corrections out.")
    changed = corrected_labels(labels, tuple(found.values()))
    gone = [word for label, word in enumerate(classes) if not (changed == label).any()]
    if gone:
        raise InputError(
            f"{named} leaves no training image of the class {printable(gone[0], 40)}: every class needs one."
        )
    return tuple(found[index] for index in sorted(found))


def corrected_labels(labels: NDArray[np.integer], corrections: Sequence[Correction]) -> NDArray[np.int64]:
    """Change labels.

    Args:
        labels: of the training split, shape (images,).
        corrections: what changes.

    Returns:
        The labels, a copy.
    """
    changed = labels.astype(np.int64)
    for correction in corrections:
        changed[correction.index] = correction.corrected
    return changed


def corrections_csv(corrections: Sequence[Correction], classes: Sequence[str]) -> bytes:
    """Write what changes, which depends on nothing else that stood in a person's file.

    Args:
        corrections: of `read_corrections`.
        classes: names of the classes, by label.

    Returns:
        CSV that `read_corrections` reads.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("index", "split", "given", "corrected"))
    writer.writerows((each.index, "train", classes[each.given], classes[each.corrected]) for each in corrections)
    return file.getvalue().encode()


def _index(row: dict[str, str], where: str, images: int) -> int:
    split, written = ((row[column] or "").strip() for column in ("split", "index"))
    if split != "train":
        raise InputError(
            f"{where}: the split is '{printable(split, 20)}': expected train, since the others stay as they are."
        )
    if not (written.isascii() and written.isdecimal() and len(written) < 12 and int(written) < images):
        raise InputError(
            f"{where}: there is no training image '{printable(written, 20)}': expected an index from 0 to {images - 1}."
        )
    return int(written)


def _check_given(row: dict[str, str], where: str, index: int, given: str) -> None:
    told = row.get("given")
    if told is not None and told.strip() != given:
        raise InputError(
            f"{where}: image {index} was {printable(told.strip(), 30)}, but is {printable(given, 30)} in this dataset: "
            "give the corrections of this one."
        )
