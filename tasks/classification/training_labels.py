"""What a report and a card say of training labels that a person has corrected."""

import csv
import io

from tasks.records.data import DatasetRecord
from tasks.storage.store import Store

NAMED = 20


def corrected_rows(dataset: DatasetRecord, store: Store) -> list[tuple[str, str]]:
    """Say how many labels were corrected, and which.

    Args:
        dataset: the data.
        store: that has the list of the corrections.

    Returns:
        A row of a table; none where nothing was corrected.
    """
    if dataset.corrections is None:
        return []
    rows = list(csv.DictReader(io.StringIO(store.get(dataset.corrections).decode())))
    named = ", ".join(f"#{row['index']} {row['given']} → {row['corrected']}" for row in rows[:NAMED])
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return [("training labels corrected by a person", f"{len(rows)}: {named}{more}; corrections.csv lists them")]
