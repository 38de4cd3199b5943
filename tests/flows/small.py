"""Runs that compute and draw as little as a flow can, and leave all that it leaves otherwise."""

from flows.support.shell import parse
from tasks.execution.caching import outcomes
from tasks.storage.store import Store

CLASSIFICATION = (
    "--preset", "debug", "--evaluation.bootstrap_samples", "50", "--evaluation.explained_images", "4",
    "--evaluation.failures", "1",
)  # fmt: skip
RETRIEVAL = (
    *CLASSIFICATION, "--retrieval.bootstrap_samples", "50", "--retrieval.galleries", "1", "--retrieval.neighbours", "2",
)  # fmt: skip
LIMIT = 64
"""Images of each split."""

FEW_IMAGES = ("--dataset.limit", str(LIMIT), "--evaluation.label_folds", "0")


def run_flow(flow, words):
    """Run a flow; return its result and how all steps of it and of the flows in it ended."""
    before = Store().list("ledger")
    result = flow(**parse(flow, words))
    flow_run_ids = [name.rsplit("/", 1)[-1] for name in Store().list("ledger") if name not in before]
    return result, outcomes(flow_run_ids)


def executed(steps):
    return {step.step for step in steps if not step.hit}
