"""The report of a run over a person's own pictures, which its pages in Prefect and MLflow show."""

from collections.abc import Sequence

from models.markdown import escape
from tasks.cases.case import Case
from tasks.cases.wording import describe_counts
from tasks.records.data import CHEST_X_RAYS
from tasks.shared.markdown import document, table

_ROWS = 50
_CHEST_X_RAYS = (
    "No radiologist has seen these pictures. The classifier knows two classes of chest X-rays of children aged one to "
    "five from one hospital, at a few pixels a side; a picture of anything or anybody else gets a probability all the "
    "same. That a picture is not foreign means only that it is no stranger to these X-rays than all but one in twenty "
    "of them. Sets hold the true class as often as promised for pictures like those of validation, and for no others."
)
_OTHERS = (
    "Nobody has seen these pictures. The classifier knows the classes of {name}, at a few pixels a side; a picture of "
    "anything else gets a class all the same. That a picture is not foreign means only that it is no stranger to these "
    "images than all but one in twenty of them. Sets hold the true class as often as promised for pictures like those "
    "of validation, and for no others. {reports}"
)


def cases_summary(
    cases: Sequence[Case], *, phantoms: bool, dataset: str = CHEST_X_RAYS, template_only: str | None = None
) -> str:
    """Write the report.

    Args:
        cases: all cases, the most urgent first.
        phantoms: whether the classifier was trained on drawn phantoms.
        dataset: MedMNIST's name of the images that it was trained on.
        template_only: why only the template reports on these, where it is so.

    Returns:
        Markdown.
    """
    left = f"\n\nThe other {len(cases) - _ROWS} are in the table `cases.csv`." if len(cases) > _ROWS else ""
    rows = [_row(case) for case in cases[:_ROWS]]
    header = ("picture", "look first", "probability", "class", "set at 90 %", "similar cases")
    problems = [f"- {escape(case.name)}: {escape(case.why_not_counted)}" for case in cases[:_ROWS] if not case.counts]
    sections = [
        (
            "Pictures",
            f"{describe_counts(cases)} Foreign and unreadable ones are not counted.\n\n{table(header, rows)}{left}",
        ),
        *([("Why some are not counted", "\n".join(problems))] if problems else []),
        (
            "Limits",
            _CHEST_X_RAYS
            if dataset == CHEST_X_RAYS
            else _OTHERS.format(name=dataset, reports=template_only or "").strip(),
        ),
    ]
    return document("Own pictures", sections, phantoms=phantoms)


def _row(case: Case) -> tuple[str, ...]:
    said = case.classification
    if said is None:
        return case.name, case.concern, "", "", "", ""
    similar = ", ".join(f"{each.encoder}: {each.majority or 'divided'}" for each in case.similar)
    if case.foreign:
        return case.name, case.concern, f"({said.probability:.3f})", "not counted", "", similar
    concern = "" if case.concern == "none" else case.concern
    return case.name, concern, f"{said.probability:.3f}", said.label, " or ".join(said.sets["0.90"]) or "none", similar
