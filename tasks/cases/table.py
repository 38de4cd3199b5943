"""The table of all cases, for spreadsheets and programs, and what is counted of them."""

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tasks.cases.case import Case, Classification, SimilarCase
from tasks.shared.metric_names import class_word

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def case_rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Write one row a case.

    Args:
        cases: the cases.

    Returns:
        Values by column, the same columns in each row; None where there is nothing to say.
    """
    names = list(dict.fromkeys(each.encoder for case in cases for each in case.similar))
    strategies = list(dict.fromkeys(name for case in cases for name in case.reports))
    return [_row(case, names, strategies) for case in cases]


def as_table(cases: Sequence[Case]) -> tuple[list[str], list[list[Any]]]:
    """Write the table as columns and rows, as the tracker takes it."""
    rows = case_rows(cases)
    columns = list(rows[0]) if rows else []
    return columns, [list(row.values()) for row in rows]


def case_csv(cases: Sequence[Case]) -> bytes:
    """Write the table as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    return _frame(cases).map(_harmless).to_csv(index=False).encode()


def case_parquet(cases: Sequence[Case]) -> bytes:
    """Write the table as Parquet."""
    buffer = io.BytesIO()
    _frame(cases).to_parquet(buffer, index=False)
    return buffer.getvalue()


def case_metrics(cases: Sequence[Case], labels: Sequence[str]) -> dict[str, float]:
    """Count the cases; foreign and unreadable ones are counted as such and nowhere else.

    Args:
        cases: all of them.
        labels: names of the classes.

    Returns:
        `cases/count`, `cases/counted` and the like.
    """
    concerns, counted = Counter(case.concern for case in cases), [case for case in cases if case.counts]
    predicted = Counter(case.classification.label for case in counted if case.classification)
    return {
        "cases/count": len(cases),
        "cases/unreadable": concerns["unreadable"],
        "cases/foreign": concerns["foreign"],
        "cases/borderline": concerns["borderline"],
        "cases/disagreement": concerns["disagreement"],
        "cases/counted": len(counted),
        **{f"cases/{class_word(label)}": predicted[label] for label in labels},
    }


def _frame(cases: Sequence[Case]) -> Any:
    import pandas as pd

    return pd.DataFrame(case_rows(cases)).convert_dtypes()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _row(case: Case, encoders: Sequence[str], strategies: Sequence[str]) -> dict[str, Any]:
    said, screened = case.classification, case.screening
    similar = {each.encoder: each for each in case.similar}
    return {
        "name": case.name,
        "sha256": case.digest,
        "concern": case.concern,
        "problem": case.problem,
        "foreign": None if screened is None else screened.foreign,
        "foreign_reasons": None if screened is None else " ".join(screened.reasons),
        "distance": None if screened is None else screened.distance,
        "distance_limit": None if screened is None else screened.limit,
        "label": said.label if said and case.counts else None,
        "probability": said.probability if said else None,
        "threshold": said.threshold if said else None,
        "set_90": _set(said, "0.90"),
        "set_95": _set(said, "0.95"),
        **{f"similar_{name}": similar[name].majority if name in similar else None for name in encoders},
        **{f"nearest_{name}": _nearest(similar[name].hits) if name in similar else None for name in encoders},
        **{f"report_{name}": case.reports.get(name) for name in strategies},
        "height": case.height or None,
        "width": case.width or None,
    }


def _set(said: Classification | None, level: str) -> str | None:
    return None if said is None else " or ".join(said.sets[level]) or "none"


def _nearest(hits: Sequence[SimilarCase]) -> str:
    return ", ".join(f"{hit.split} #{hit.index} {hit.label} {hit.similarity:.3f}" for hit in hits)
