from models.report_generation.controls import CONTROLS, DEFAULT_CONTROLS
from models.report_generation.generator import Row
from models.report_generation.medgemma.memory import MOST_ROWS
from tasks.parameters.reports import ReportParameters
from tasks.reports.requests import rows_of_cases, rows_per_case, share_out
from tests.benchmarks.report_plan import planned, rows_of_run

FORM = ReportParameters()


def as_cut(rows: list[Row]) -> list[list[Row]]:
    return [rows_of_cases(rows, *share) for share in share_out(rows_per_case(rows), FORM.batch_size)]


def test_the_default_run_takes_few_calls_and_steps() -> None:
    assert tuple(FORM.controls) == DEFAULT_CONTROLS
    rows = rows_of_run(FORM.cases, FORM.controls, FORM.controlled_cases)
    assert planned(as_cut(rows), MOST_ROWS) == (1132, 16, 3523)


def test_most_steps_of_a_run_with_batches_of_one_were_theirs() -> None:
    controls = [control for control in CONTROLS if control != "companions"]
    rows = rows_of_run(24, controls, 24)
    tasks = [rows_of_cases(rows, first, first + 8) for first in (0, 8, 16)]
    alone = [[row for row in task if row.request.control == "alone"] for task in tasks]
    assert planned(tasks, 64).steps == 47_547
    assert planned(alone, 64).steps == 42_264


def test_the_test_split_takes_few_calls_and_steps() -> None:
    rows = rows_of_run(624, (), 0)
    assert planned([rows_of_cases(rows, first, first + 8) for first in range(0, 624, 8)], 64) == (4368, 390, 81_198)
    assert planned(as_cut(rows), MOST_ROWS) == (4368, 21, 5283)
