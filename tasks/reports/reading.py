"""From the texts that came of the rows to an answer to every request."""

from collections.abc import Sequence

from models.report_generation.generator import ReportGenerator, Row, Written
from models.report_generation.schema import Answer, Report, Request
from models.report_generation.unreadable import UnreadableReport


def read_answers(generator: ReportGenerator, rows: Sequence[Row], written: Sequence[Written]) -> list[Answer]:
    """Read the report out of each text.

    Args:
        generator: what wrote them.
        rows: what was asked for, one row per request; requests may share one.
        written: what came of each row, in any order.

    Returns:
        One answer per request, in the order of the requests; a text that cannot be read is kept with the reason.

    Raises:
        RuntimeError: a row is missing, or came out twice or unasked.
    """
    by_row = {one.row_id: one for one in written}
    if len(written) != len(by_row) or by_row.keys() != {row.id for row in rows}:
        raise RuntimeError(f"{len({row.id for row in rows})} rows went in, and {len(written)} came out")
    return [_answer(generator, row.request, by_row[row.id]) for row in rows]


def _answer(generator: ReportGenerator, request: Request, written: Written) -> Answer:
    report, problem = _read(generator, request, written)
    return Answer(
        row_id=written.row_id,
        case_index=request.case.index,
        strategy=request.strategy,
        control=request.control,
        shown_probability=_told(generator, request),
        prompt=generator.prompt(request),
        text=written.text,
        report=report,
        problem=problem,
        score=written.score,
        choice_mass=written.choice_mass,
        decided_by=written.decided_by,
        usage=written.usage,
    )


def _read(generator: ReportGenerator, request: Request, written: Written) -> tuple[Report | None, str | None]:
    if written.error is not None or written.score is not None:
        return None, written.error
    try:
        report = generator.read(request, written.text)
    except UnreadableReport as error:
        return None, str(error)
    if report.label not in (None, *request.case.labels):
        return None, f"It concludes on {report.label!r}, which is none of the classes."
    return report, None


def _told(generator: ReportGenerator, request: Request) -> float | None:
    """Return the probability that the generator was told; None where its strategy tells none."""
    untold = request.model_copy(update={"case": request.case.model_copy(update={"probability": None})})
    return request.case.probability if generator.prompt(request) != generator.prompt(untold) else None
