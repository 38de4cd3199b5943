"""Which fault is tried against which program."""

from tests.soak import faults
from tests.soak.faults import Fault
from tests.soak.runs import Program, smallest_program

ONE_STAGE = smallest_program(
    "one-stage", "tests.soak.one_stage", "dataset", "training", training__epochs=3, dataset__limit=32
)
PIPELINE = smallest_program("pipeline", "flows.pipeline", "dataset", "training", "evaluation", "retrieval", "reports")
REPORTS = smallest_program("reports", "tests.support.short_reports", "dataset", "training", "evaluation", "reports")
SWEEP = smallest_program(
    "sweep", "flows.sweep", "dataset", "training", "evaluation", sweep__learning_rates="0.001,0.002",
    sweep__seeds="0", sweep__at_once=2,
)  # fmt: skip

TRIALS: dict[str, tuple[Fault, Program]] = {
    "one stage is killed": (faults.killed, ONE_STAGE),
    "pipeline is killed": (faults.killed, PIPELINE),
    "sweep is killed": (faults.killed, SWEEP),
    "reports are killed": (faults.killed, REPORTS),
    "a file cannot be read once": (faults.unreadable, ONE_STAGE),
    "the store vanishes in mid-run": (faults.store_lost, ONE_STAGE),
    "files of every kind are damaged": (faults.rotten, ONE_STAGE),
    "databases are locked for a minute": (faults.databases_locked(60), ONE_STAGE),
    "run or experiment is deleted in MLflow": (faults.run_deleted, ONE_STAGE),
}
