"""Which fault is tried against which program."""

from tests.soak import faults
from tests.soak.faults import Fault
from tests.soak.runs import Program, smallest_program

_FEW = {"dataset__path": "{material}/few.npz"}
_OWN_PICTURES = (
    "--dataset.path", "{material}/few.npz", "--dataset.limit", "64", "--cases.images", "{material}/pictures",
    "--cases.pages", "2",
)  # fmt: skip

# One stage begins in an empty folder, where both databases are made; the others where it has been.
ONE_STAGE = smallest_program(
    "one-stage", "tests.soak.one_stage", "dataset", "training", training__epochs=3, dataset__limit=32
)
PIPELINE = smallest_program(
    "pipeline", "flows.pipeline", "dataset", "training", "evaluation", "retrieval", "reports", before=(ONE_STAGE,)
)
REPORTS = smallest_program(
    "reports", "tests.support.short_reports", "dataset", "training", "evaluation", "reports", before=(ONE_STAGE,)
)
SWEEP = smallest_program(
    "sweep", "flows.sweep", "dataset", "training", "evaluation", before=(ONE_STAGE,),
    sweep__learning_rates="0.001,0.002", sweep__seeds="0", sweep__at_once=2,
)  # fmt: skip
CHAMPION = smallest_program("champion", "flows.retrieval", "dataset", "training", "evaluation", "retrieval", **_FEW)
CASES = Program("cases", "flows.cases", _OWN_PICTURES, before=(CHAMPION,))
INBOX = Program("inbox", "flows.inbox", _OWN_PICTURES, before=(CHAMPION,))
PIPELINE_BESIDE = smallest_program(
    "pipeline-beside", "flows.pipeline", "dataset", "training", "evaluation", "retrieval", "reports",
    before=(CHAMPION,), training__seed=7, **_FEW,
)  # fmt: skip

TRIALS: dict[str, tuple[Fault, Program]] = {
    "one stage is killed": (faults.killed, ONE_STAGE),
    "the pipeline is killed": (faults.killed, PIPELINE),
    "a sweep is killed": (faults.killed, SWEEP),
    "reports are killed": (faults.killed, REPORTS),
    "cases are killed": (faults.killed, CASES),
    "the disk is full": (faults.disk_full, ONE_STAGE),
    "the store is read-only": (faults.read_only, ONE_STAGE),
    "the store vanishes in mid-run": (faults.store_lost, ONE_STAGE),
    "a file cannot be read once": (faults.unreadable, ONE_STAGE),
    "files of every kind are damaged": (faults.rotten, PIPELINE),
    "the clock jumps ahead a day": (faults.clock(86_400), ONE_STAGE),
    "the clock jumps back a day": (faults.clock(-86_400), ONE_STAGE),
    "databases are locked for a minute": (faults.databases_locked(60), ONE_STAGE),
    "MLflow's server is away for two minutes": (faults.server_away("mlflow", 120), ONE_STAGE),
    "Prefect's server is away for two minutes": (faults.server_away("prefect", 120), ONE_STAGE),
    "run or experiment is deleted in MLflow": (faults.run_deleted, ONE_STAGE),
    "four pipelines, two sweeps, an inbox": (
        faults.crowd((PIPELINE_BESIDE, 3), (SWEEP, 2), (INBOX, 1)),
        PIPELINE_BESIDE,
    ),
}
