"""Which reports are asked for: every chosen case in every strategy, and some of them again under controls."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.report_generation.controls import CONTROLS, control_case, control_image
from models.report_generation.generator import ReportGenerator, Row, row_of
from models.report_generation.schema import Case, Control, Request


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        requests: the requests; plain ones first.
        row_ids: the row of each, which several requests may share.
        images: every image that is shown, once, shape (images, height, width), 0–255.
    """

    requests: tuple[Request, ...]
    row_ids: tuple[str, ...]
    images: NDArray[np.uint8]


def plan_requests(
    generator: ReportGenerator,
    cases: Sequence[Case],
    controls: Sequence[Control],
    controlled_cases: int,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    seed: int,
) -> Plan:
    """Ask for a report of every case in every strategy of a generator.

    A control that would ask for just what the plain request asks for (another probability in a strategy that tells
    none) is left out.

    Args:
        generator: what is to write.
        cases: the chosen cases.
        controls: conditions under which some of the cases are asked for again.
        controlled_cases: how many, spread evenly over the chosen ones.
        images: all test images, shape (N, height, width), 0–255.
        labels: their true classes, shape (N,), by which other patients' images are found.
        seed: seed of the noise images and of the choice of other patients.

    Returns:
        The plan.
    """
    shown = _Images(images.shape[1:])
    requests = [
        _request(case, strategy, "none", images[case.index], shown)
        for case in cases
        for strategy in generator.strategies
    ]
    plain = {(request.case.index, request.strategy): _asked(generator, request) for request in requests}
    spread = sorted({round(position) for position in np.linspace(0, len(cases) - 1, min(controlled_cases, len(cases)))})
    for case in (cases[position] for position in spread):
        for control in controls:
            image = control_image(control, case.index, images, labels, seed)
            batch_differs = CONTROLS[control].changes == "batch"
            for strategy in generator.strategies:
                request = _request(control_case(control, case), strategy, control, image, shown)
                if batch_differs or _asked(generator, request) != plain[case.index, strategy]:
                    requests.append(request)
    row_ids = tuple(row_of(generator, request).id for request in requests)
    return Plan(tuple(requests), row_ids, shown.stacked())


def rows_of_cases(rows: Sequence[Row], first: int, last: int) -> list[Row]:
    """Pick the different rows whose first request is about one of some cases.

    Args:
        rows: a row of every request; requests may share one.
        first: position of the first case, in the order in which the rows name the cases.
        last: position after the last one.

    Returns:
        The rows, each once.
    """
    cases = set(list(dict.fromkeys(row.request.case.index for row in rows))[first:last])
    return [row for row in _firsts(rows) if row.request.case.index in cases]


def rows_per_case(rows: Sequence[Row]) -> tuple[int, ...]:
    """Count the rows that `rows_of_cases` picks for each case, in the order in which the rows name the cases."""
    cases = dict.fromkeys((row.request.case.index for row in rows), 0)
    for row in _firsts(rows):
        cases[row.request.case.index] += 1
    return tuple(cases.values())


def share_out(counts: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Share cases out to tasks.

    Args:
        counts: rows of each case.
        most: rows of a task; only a single case may have more.

    Returns:
        Of each task the position of the first case, and that after the last.
    """
    parts: list[tuple[int, int]] = []
    first = taken = 0
    for position, count in enumerate(counts):
        if position > first and taken + count > most:
            parts.append((first, position))
            first, taken = position, 0
        taken += count
    return [*parts, (first, len(counts))] if counts else parts


def _firsts(rows: Sequence[Row]) -> list[Row]:
    """Pick the first of each row's requests."""
    firsts: dict[str, Row] = {}
    for row in rows:
        firsts.setdefault(row.id, row)
    return list(firsts.values())


def _asked(generator: ReportGenerator, request: Request) -> tuple[str | None, str]:
    return request.image_sha256, generator.prompt(request)


class _Images:
    """Collects different images and says where each lies."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._images: list[NDArray[np.uint8]] = []
        self._positions: dict[str, int] = {}
        self._shape = shape

    def position(self, image: NDArray[np.uint8], digest: str) -> int:
        if digest not in self._positions:
            self._positions[digest] = len(self._images)
            self._images.append(image)
        return self._positions[digest]

    def stacked(self) -> NDArray[np.uint8]:
        return np.stack(self._images) if self._images else np.zeros((0, *self._shape), np.uint8)


def _request(case: Case, strategy: str, control: Control, image: NDArray[np.uint8] | None, shown: _Images) -> Request:
    if image is None:
        return Request(case=case, image=None, image_sha256=None, strategy=strategy, control=control)
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    position = shown.position(image, digest)
    return Request(case=case, image=position, image_sha256=digest, strategy=strategy, control=control)
