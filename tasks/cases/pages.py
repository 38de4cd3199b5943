"""The pages of a run: one per case with all that is known of it, and one with the table of all cases.

They are whole in themselves: pictures are data URLs, and nothing is fetched. Names of files and text of a language
model are not trusted: every value is escaped, and control characters are shown as escapes. The table's one script is
this project's own; the content security policy allows it by its digest, and nothing else.
"""

import base64
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Template
from markupsafe import Markup
from numpy.typing import NDArray

from models.report_generation.schema import Answer
from models.text import one_line, printable
from tasks.cases.case import CONCERNS, Case, SimilarCases, most_urgent_first
from tasks.cases.heat_overlay import heat_overlay
from tasks.cases.pictures import MOST_SIDE, at_page_size, small_url
from tasks.cases.wording import (
    LIMITATIONS,
    Voice,
    describe_counts,
    describe_reliability,
    describe_screening,
    describe_set,
    describe_similar,
    short_set,
    voices,
)
from tasks.reports.pages import TEMPLATES as REPORTS
from tasks.reports.pages import Claim
from tasks.shared.heat_colours import lay_over
from tasks.shared.html_templates import environment, known, notices
from tasks.shared.png import picture_url

MOST_THUMBNAILS = 500
"""Cases of a table that have a picture there, 2 kB each; more would make the page too large."""
_TEMPLATES = Path(__file__).with_name("page_templates")
_SEEN, _NEIGHBOUR = 140, 84  # least width of small pictures, in pixels


@dataclass(frozen=True)
class CaseView:
    """All that a page shows of a case that could be read.

    Attributes:
        case: what was computed.
        picture: as it was brought, shape (height, width) or (height, width, 3), 0–255.
        image: as the classifier saw it, shape (rows, columns) or (rows, columns, 3), 0–255.
        heat: map of the evidence for two classes in [0, 1], shape (rows, columns), by the class's name, that of the
            class that the probability is of last.
        neighbours: images of the similar cases by encoder, in the order of `case.similar`.
        answers: what came of each request for a report.
        claims: unsupported claims by the answer's row id.
        class_names: by label; of two the probability is of the second, of more of the class that is predicted.
    """

    case: Case
    picture: NDArray[np.uint8]
    image: NDArray[np.uint8]
    heat: Mapping[str, NDArray[np.floating]]
    neighbours: Mapping[str, Sequence[NDArray[np.uint8]]]
    answers: Sequence[Answer] = ()
    claims: Mapping[str, Sequence[Claim]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ("normal", "pneumonia")

    @property
    def positive(self) -> str:
        """The class that the probability is of."""
        found = self.case.classification
        return found.positive(self.class_names) if found else self.class_names[1]


class _Row(NamedTuple):
    """A row of the table."""

    case: Case
    name: str
    picture: str
    paged: bool
    note: str
    similar: Mapping[str, SimilarCases]


def case_page(
    view: CaseView,
    *,
    source: Mapping[str, object],
    links: Mapping[str, str],
    phantoms: bool,
    random_weights: bool,
) -> str:
    """Write the page of one case, which prints on A4.

    Args:
        view: what to show.
        source: facts about where everything comes from, by name; those that are None are left out.
        links: addresses by their words: other pages, Prefect, MLflow, files.
        phantoms: whether the classifier learnt from drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        HTML, a few hundred kilobytes whatever the picture's size.
    """
    case, shown, maps = view.case, at_page_size(view.picture), _maps(view)
    found, said = case.classification, voices(view.case, view.answers)
    sets = found.sets.items() if found else ()
    return _template("one_case.html").render(
        view=view,
        case=case,
        name=one_line(case.name),
        short_name=printable(case.name),
        concern=CONCERNS[case.concern],
        picture=small_url(shown),
        overlays=[(name, small_url(heat_overlay(shown, heat)), heat.any()) for name, heat in maps.items()],
        seen=picture_url(view.image, _SEEN),
        seen_overlays=[(name, picture_url(lay_over(view.image, heat), _SEEN)) for name, heat in maps.items()],
        shrunk=max(case.height, case.width) > MOST_SIDE,
        cropped=case.height != case.width,
        shown=shown.shape,
        sets={f"{100 * float(level):g} %": describe_set(labels, len(view.class_names)) for level, labels in sets},
        reliability=describe_reliability(found.reliability, _counted_class(view)) if found else "",
        screening=describe_screening(case.screening) if case.screening else "",
        voices=said,
        verdict=_verdict(case, said),
        neighbours=[
            (similar, [picture_url(image, _NEIGHBOUR) for image in view.neighbours[similar.encoder]])
            for similar in case.similar
        ],
        describe_similar=describe_similar,
        limitations=LIMITATIONS,
        source=known(source),
        links=_safe(links),
        notices=notices(phantoms=phantoms, random_weights=random_weights),
    )


def index_page(
    cases: Sequence[Case],
    thumbnails: Mapping[str, bytes],
    paged: Collection[str],
    *,
    source: Mapping[str, object],
    links: Mapping[str, str],
    phantoms: bool,
    random_weights: bool = False,
    class_names: tuple[str, ...] = ("normal", "pneumonia"),
) -> str:
    """Write the table of all cases of a run, to be sorted and filtered; without its script it is in order of urgency.

    Args:
        cases: in any order, up to ten thousand.
        thumbnails: PNG by the case's digest; those of the `MOST_THUMBNAILS` most urgent cases are shown.
        paged: digests of the cases that have a page beside this one.
        source: as for `case_page`.
        links: as for `case_page`.
        phantoms: as for `case_page`.
        random_weights: as for `case_page`.
        class_names: as for `CaseView`.

    Returns:
        HTML.
    """
    ordered, script = most_urgent_first(list(cases)), _script()
    pictured = {case.digest for case in ordered[:MOST_THUMBNAILS]} & set(thumbnails)
    return _template("all_cases.html").render(
        rows=[_row(case, thumbnails.get(case.digest) if case.digest in pictured else None, paged) for case in ordered],
        counts=describe_counts(cases),
        concerns=_found([case.concern for case in ordered], CONCERNS),
        labels=_found([case.classification.label for case in ordered if case.classification], class_names),
        positive=class_names[1] if len(class_names) == 2 else "",
        order={concern: place for place, concern in enumerate(CONCERNS)},
        encoders=list(dict.fromkeys(each.encoder for case in ordered for each in case.similar)),
        strategies=list(dict.fromkeys(strategy for case in ordered for strategy in case.reports)),
        pictured=bool(pictured),
        unpictured=MOST_THUMBNAILS if pictured and len(ordered) > MOST_THUMBNAILS else 0,
        unpaged=bool({case.digest for case in ordered if not case.problem} - set(paged)),
        short_set=partial(short_set, classes=len(class_names)),
        agreeing=_agreeing,
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        source=known(source),
        links=_safe(links),
        notices=notices(phantoms=phantoms, random_weights=random_weights),
    )


def _row(case: Case, thumbnail: bytes | None, paged: Collection[str]) -> _Row:
    reasons = case.screening.reasons if case.screening and case.foreign else ()
    return _Row(
        case=case,
        name=printable(case.name),
        picture=f"data:image/png;base64,{base64.b64encode(thumbnail).decode()}" if thumbnail else "",
        paged=case.digest in paged,
        note=one_line(case.problem or " ".join(reasons)),
        similar={each.encoder: each for each in case.similar},
    )


def _maps(view: CaseView) -> dict[str, NDArray[np.floating]]:
    """Return the maps, that of the class that the probability is of first."""
    return dict(reversed([*view.heat.items()]))


def _counted_class(view: CaseView) -> str:
    """Name the class whose share of similar probabilities is told."""
    return view.positive if len(view.class_names) == 2 else "the class that was predicted"


def _verdict(case: Case, said: Sequence[Voice]) -> str:
    """Say in a sentence whether all say the same."""
    named = {voice.says for voice in said if voice.names_class}
    if len(said) < 2 or case.foreign:
        return ""
    if len(named) > 1:
        return "They do not say the same."
    return "All say the same." if all(voice.names_class for voice in said) else "Nobody contradicts the classifier."


def _agreeing(similar: SimilarCases) -> str:
    """Say how many of the similar cases are of the class of most."""
    if similar.majority is None:
        return describe_similar(similar)
    return f"{sum(hit.label == similar.majority for hit in similar.hits)} of {len(similar.hits)}"


def _found(values: Sequence[str], order: Collection[str]) -> dict[str, int]:
    """Count what there is, in an order."""
    return {value: values.count(value) for value in [*order, *sorted({*values} - {*order})] if value in values}


def _safe(links: Mapping[str, str]) -> dict[str, str]:
    """Leave out every address that is neither of the web nor of a file beside the page."""
    return {
        words: address
        for words, address in links.items()
        if address.startswith(("https://", "http://")) or re.match(r"(?!//)[^:]*(/|$)", address)
    }


@cache
def _script() -> str:
    """Read the table's script; what stands between the tags is what the policy's digest is of."""
    return (_TEMPLATES / "all_cases.js").read_text().strip()


def _template(name: str) -> Template:
    return environment(_TEMPLATES, REPORTS).get_template(name)
