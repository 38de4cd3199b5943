from typing import ClassVar

import numpy as np
import pytest

from models.report_generation.generator import Row, row_of
from tasks.reports.requests import plan_requests, rows_of_cases, rows_per_case, share_out
from tests.tasks.reports.pair_generator import PairGenerator, case, row

LABELS = np.array([0, 1, 0, 1, 0, 1])
IMAGES = (
    np.arange(6 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(6, 28, 28)
    // np.arange(1, 7, dtype=np.uint8)[:, None, None]
)
CASES = [case(index) for index in range(5)]
ALL = (
    "blank",
    "noise",
    "same_label",
    "other_label",
    "no_image",
    "flipped",
    "even",
    "no_probability",
    "paraphrase",
    "companions",
    "alone",
)


def _plan(controls=ALL, controlled=5, generator=None):
    return plan_requests(generator or PairGenerator(), CASES, controls, controlled, IMAGES, LABELS, seed=0)


def _asked(plan, control):
    return [request for request in plan.requests if request.control == control]


def test_every_case_is_asked_in_every_strategy_with_its_own_image():
    plan = _plan(controls=())
    assert [(r.case.index, r.strategy) for r in plan.requests] == [
        (i, s) for i in range(5) for s in ("plain", "informed")
    ]
    for request in plan.requests:
        assert (plan.images[request.image] == IMAGES[request.case.index]).all()
    assert len(set(plan.row_ids)) == 10


def test_controls_show_what_they_say():
    plan = _plan()
    for request in _asked(plan, "blank"):
        assert not plan.images[request.image].any()
    for request in _asked(plan, "no_image"):
        assert request.image is None
        assert request.image_sha256 is None
    for control, same in (("same_label", True), ("other_label", False)):
        for request in _asked(plan, control):
            (shown,) = [i for i in range(6) if (IMAGES[i] == plan.images[request.image]).all()]
            assert shown != request.case.index
            assert (LABELS[shown] == LABELS[request.case.index]) == same
    for request in _asked(plan, "flipped"):
        assert request.case.probability == pytest.approx(1 - CASES[request.case.index].probability)
    assert {request.case.probability for request in _asked(plan, "even")} == {0.5}
    assert {request.case.probability for request in _asked(plan, "no_probability")} == {None}


def test_a_control_that_asks_for_nothing_else_is_left_out():
    plan = _plan()
    for control in ("flipped", "even", "no_probability"):
        assert {request.strategy for request in _asked(plan, control)} == {"informed"}
    assert 4 not in {request.case.index for request in _asked(plan, "even")} or CASES[4].probability != 0.5
    for control in ("companions", "alone"):  # the batch is another
        assert {request.strategy for request in _asked(plan, control)} == {"plain", "informed"}


def test_requests_that_show_and_say_the_same_are_one_row():
    plan = _plan()
    ids = dict(zip([(r.case.index, r.strategy, r.control) for r in plan.requests], plan.row_ids, strict=True))
    assert len({ids[index, "plain", "blank"] for index in range(5)}) == 1
    assert len({ids[index, "informed", "blank"] for index in range(5)}) == 5  # each is told another probability
    assert len({ids[0, "plain", control] for control in ("none", "companions", "alone")}) == 3


def test_controlled_cases_are_spread_over_the_cases():
    assert {request.case.index for request in _asked(_plan(controlled=3), "blank")} == {0, 2, 4}
    assert not _asked(_plan(controlled=0), "blank")
    assert len({request.case.index for request in _asked(_plan(controlled=99), "blank")}) == 5


def test_plans_repeat():
    first, second = _plan(), _plan()
    assert first.row_ids == second.row_ids
    assert (first.images == second.images).all()


def test_a_row_changes_with_all_that_decides_its_text():
    generator = PairGenerator()
    request = _plan(controls=()).requests[0]
    known = row_of(generator, request).id

    class Other(PairGenerator):
        identity: ClassVar = {"version": 2}

    class Longer(PairGenerator):
        def settings(self, strategy):
            return {"version": 4}

    changed = [
        row_of(Other(), request),
        row_of(Longer(), request),
        row_of(generator, request.model_copy(update={"image_sha256": "other"})),
        row_of(generator, request.model_copy(update={"control": "paraphrase"})),
        row_of(generator, request.model_copy(update={"control": "alone"})),
        row_of(generator, request.model_copy(update={"strategy": "informed"})),
    ]
    assert len({known, *(row.id for row in changed)}) == 7
    # What the generator is not told decides nothing.
    assert row_of(generator, request.model_copy(update={"case": case(3)})).id == known


def test_rows_are_shared_out_by_the_case_that_asks_for_them_first():
    rows = [row("a", 4), row("b", 2), row("shared", 4), row("c", 7), row("shared", 7), row("a", 4)]
    parts = [[one.id for one in rows_of_cases(rows, first, first + 1)] for first in range(3)]
    assert parts == [["a", "shared"], ["b"], ["c"]]
    assert [one.id for one in rows_of_cases(rows, 0, 3)] == ["a", "b", "shared", "c"]
    assert rows_per_case(rows) == (2, 1, 1)


@pytest.mark.parametrize(
    ("counts", "most", "expected"),
    [
        ([], 10, []),
        ([3], 10, [(0, 1)]),
        ([3, 3, 3, 3], 6, [(0, 2), (2, 4)]),
        ([3, 3, 3, 3], 7, [(0, 2), (2, 4)]),
        ([3, 3, 3], 1, [(0, 1), (1, 2), (2, 3)]),
        ([9, 1, 1], 2, [(0, 1), (1, 3)]),
        ([1, 9, 1], 2, [(0, 1), (1, 2), (2, 3)]),
        ([0, 0, 2], 2, [(0, 3)]),
        ([7] * 624, 1536, [(0, 219), (219, 438), (438, 624)]),
    ],
)
def test_a_task_takes_whole_cases_until_its_rows_are_full(counts, most, expected):
    assert share_out(counts, most) == expected


def test_every_row_of_a_plan_is_in_one_task():
    plan = _plan()
    rows = [Row(id=i, request=request) for i, request in zip(plan.row_ids, plan.requests, strict=True)]
    counts = rows_per_case(rows)
    assert sum(counts) == len(set(plan.row_ids))
    for most in (1, 20, 50, 1000):
        shares = share_out(counts, most)
        assert [one for share in shares for one in range(*share)] == list(range(len(counts)))
        tasks = [rows_of_cases(rows, *share) for share in shares]
        assert [len(task) for task in tasks] == [sum(counts[slice(*share)]) for share in shares]
        assert sorted(row.id for task in tasks for row in task) == sorted(set(plan.row_ids))
