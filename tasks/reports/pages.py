"""The synchronous view: one page per case with the image, what the classifier says of it and what each report says.

The pages are whole in themselves: pictures are data URLs, and nothing is fetched. Text of a language model is not
trusted: every value is escaped, the pages hold no script, and their content security policy forbids any.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Template
from markupsafe import Markup
from numpy.typing import NDArray

from models.report_generation.prompting import plain_reports
from models.report_generation.schema import Answer, Case, Label, NeighbourEvidence
from tasks.shared.heat_colours import lay_over
from tasks.shared.html_templates import environment, known, notices
from tasks.shared.png import picture_url

TEMPLATES = Path(__file__).with_name("page_templates")
IN_ONE_PAGE = 60  # cases that the page of all holds whole; a hundred kilobytes each
_LARGE, _SMALL = 280, 84  # least width of a picture in pixels


class Claim(NamedTuple):
    """A claim that the image cannot support.

    Attributes:
        kind: what it is about: "effusion", for instance.
        words: the words found.
        status: whether it is "affirmed", "denied" or "hedged", for instance.
    """

    kind: str
    words: str
    status: str


@dataclass(frozen=True)
class CaseView:
    """All that a page shows of a case.

    Attributes:
        case: the evidence.
        group: why the case was chosen.
        truth: its true class.
        image: shape (height, width) or (height, width, 3), 0–255.
        heat: Grad-CAM map in [0, 1], shape (height, width).
        neighbours: the most similar labelled cases with their images, nearest first.
        answers: what came of the plain request of each strategy, in the order of the columns.
        asked: the answer to the yes-or-no question, or None where it was not asked or has none.
        claims: unsupported claims by the answer's row id.
    """

    case: Case
    group: str
    truth: Label
    image: NDArray[np.uint8]
    heat: NDArray[np.floating]
    neighbours: Sequence[tuple[NeighbourEvidence, NDArray[np.uint8]]]
    answers: Sequence[Answer]
    asked: Answer | None = None
    claims: Mapping[str, Sequence[Claim]] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """What one voice says of a case, and whom it agrees with.

    Attributes:
        voice: a strategy, "classifier" or "similar cases".
        says: its label, or why it has none: "no conclusion", "no report", "no majority" or "not told".
        truth: whether that is the true class; None without a label.
        classifier: whether that is the classifier's label; None without one of the two, and for the classifier itself.
        neighbours: the same for the majority of the similar cases.
    """

    voice: str
    says: str
    truth: bool | None
    classifier: bool | None
    neighbours: bool | None


def page_name(case_index: int) -> str:
    """Name the file of a case's page.

    Args:
        case_index: position of the image in the test split.

    Returns:
        A name such as `0012.html`.
    """
    return f"{case_index:04d}.html"


def case_views(
    cases: Sequence[Case],
    groups: Sequence[str],
    truths: Sequence[Label],
    splits: Mapping[str, NDArray[np.uint8]],
    heat_maps: NDArray[np.floating],
    answers: Sequence[Answer],
    claims: Mapping[str, Sequence[Sequence[str]]],
) -> list[CaseView]:
    """Gather what the page of each case shows.

    Args:
        cases: the evidence.
        groups: why each case was chosen.
        truths: the true classes.
        splits: images by split, `test_images` for instance, shape (images, height, width) or
            (images, height, width, 3), 0–255.
        heat_maps: Grad-CAM map of each case, in [0, 1], shape (cases, height, width).
        answers: what came of every request.
        claims: kind, words and status of the unsupported claims, by row id.

    Returns:
        One view per case, in their order.
    """
    found = {row_id: [Claim(*claim) for claim in claims_of] for row_id, claims_of in claims.items()}
    plain = [answer for answer in answers if answer.control == "none"]
    return [
        CaseView(
            case=case,
            group=group,
            truth=truth,
            image=splits["test_images"][case.index],
            heat=heat.astype(np.float64),
            neighbours=[(near, splits[f"{near.split}_images"][near.index]) for near in case.neighbours],
            answers=[answer for answer in plain_reports(answers) if answer.case_index == case.index],
            asked=next((a for a in plain if a.case_index == case.index and a.score is not None), None),
            claims=found,
        )
        for case, group, truth, heat in zip(cases, groups, truths, heat_maps, strict=True)
    ]


def case_pages(
    views: Sequence[CaseView], *, source: Mapping[str, object], phantoms: bool, random_weights: bool
) -> dict[str, str]:
    """Write the page of every case, and the one with the table of all that shows them below it.

    MLflow's viewer shows a page in a frame in which no link works, not even one within the page.

    Args:
        views: what the pages show.
        source: as for `case_page`.
        phantoms: whether the images are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        HTML by file name.
    """
    marks: dict[str, Any] = {"source": source, "phantoms": phantoms, "random_weights": random_weights}
    pages = {page_name(view.case.index): case_page(view, **marks) for view in views}
    return pages | {"index.html": index_page(views, **marks)}


def case_page(
    view: CaseView, *, source: Mapping[str, object] | None = None, phantoms: bool, random_weights: bool
) -> str:
    """Write the page of one case.

    Args:
        view: what to show.
        source: facts about what wrote the reports (model, revision, precision …) by name; those that are None are
            left out.
        phantoms: whether the image is a drawn phantom.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        HTML.
    """
    return _template("case_page.html").render(
        **_parts(view), source=known(source), notices=notices(phantoms=phantoms, random_weights=random_weights)
    )


def _parts(view: CaseView) -> dict[str, Any]:
    """Gather what the template of a case reads."""
    return {
        "view": view,
        "picture": picture_url(view.image, _LARGE),
        "overlay": picture_url(lay_over(view.image, view.heat), _LARGE),
        "neighbours": [(evidence, picture_url(image, _SMALL)) for evidence, image in view.neighbours],
        "agreements": agreements(view),
        "majority": neighbour_majority(view.case),
        "verdict": _verdict(view.answers),
    }


def index_page(
    views: Sequence[CaseView], *, source: Mapping[str, object] | None = None, phantoms: bool, random_weights: bool
) -> str:
    """Write the table of all cases, and below it the first `IN_ONE_PAGE` of them, to be opened in place.

    Args:
        views: what the pages show.
        source: as for `case_page`.
        phantoms: whether the images are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        HTML.
    """
    body = _template("case_body.html")
    strategies = list(dict.fromkeys(answer.strategy for view in views for answer in view.answers))
    right = Counter(
        answer.strategy
        for view in views
        for answer in view.answers
        if answer.report and answer.report.label == view.truth
    )
    return _template("index_page.html").render(
        rows=[
            (view, picture_url(view.image, _SMALL), {answer.strategy: answer for answer in view.answers})
            for view in views
        ],
        cases=[(view, Markup(body.render(**_parts(view), among_others=True))) for view in views[:IN_ONE_PAGE]],
        left_out=max(len(views) - IN_ONE_PAGE, 0),
        strategies=strategies,
        right=right,
        classifier_right=sum(view.case.label == view.truth for view in views),
        source=known(source),
        notices=notices(phantoms=phantoms, random_weights=random_weights),
    )


def agreements(view: CaseView) -> list[Agreement]:
    """Compare the classifier, the similar cases and each report with one another and with the truth.

    Args:
        view: the case.

    Returns:
        The classifier's row, that of the similar cases where there are any, then one per strategy.
    """
    classifier, majority = view.case.label, neighbour_majority(view.case)
    against_majority = _same(classifier, majority)
    rows = [Agreement("classifier", classifier or "not told", _same(classifier, view.truth), None, against_majority)]
    if view.case.neighbours:
        says = majority or "no majority"
        rows.append(Agreement("similar cases", says, _same(majority, view.truth), against_majority, None))
    for answer in view.answers:
        label = answer.report.label if answer.report else None
        against = (_same(label, other) for other in (view.truth, classifier, majority))
        rows.append(Agreement(answer.strategy, _says(answer), *against))
    return rows


def neighbour_majority(case: Case) -> Label | None:
    """Tell which class is commonest among a case's neighbours.

    Args:
        case: the evidence.

    Returns:
        The class that is commonest among them; None on a tie and without neighbours.
    """
    counts = Counter(neighbour.label for neighbour in case.neighbours).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def _says(answer: Answer) -> str:
    if answer.report is None:
        return "no report"
    return answer.report.label or "no conclusion"


def _same(first: Label | None, second: Label | None) -> bool | None:
    return None if first is None or second is None else first == second


def _verdict(answers: Sequence[Answer]) -> str:
    """Say in a sentence whether the strategies agree with one another."""
    if len(answers) < 2:
        return ""
    said = Counter(_says(answer) for answer in answers)
    labels = said.keys() - {"no report", "no conclusion"}
    if len(labels) > 1:
        judgement = "The strategies contradict one another"
    elif not labels:
        judgement = "No strategy comes to a conclusion"
    elif len(said) == 1:
        judgement = "The strategies agree"
    else:
        judgement = "No strategy contradicts another, but not all come to a conclusion"
    counts = ", ".join(f"{what} {count}" for what, count in said.most_common())
    return f"{judgement} ({counts})."


def _template(name: str) -> Template:
    return environment(TEMPLATES).get_template(name)
