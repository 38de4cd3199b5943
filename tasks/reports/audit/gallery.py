"""All figures of the audit, put together from answers, cases and metrics."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from models.report_generation.prompting import plain_reports
from models.report_generation.schema import Answer, Case, Label
from tasks.reports.audit.agreement import label_scores
from tasks.reports.audit.control_effects import label_of
from tasks.reports.audit.figures.agreement import agreement_figure
from tasks.reports.audit.figures.claims import claims_figure
from tasks.reports.audit.figures.controls import anchoring_figure, controls_figure
from tasks.reports.audit.figures.dots import DOT_FIGURES, dots_figure, label_scores_figure
from tasks.reports.audit.figures.generation import score_figure, usage_figure
from tasks.reports.audit.figures.layout import Drawing
from tasks.reports.claims.lexicon import KINDS
from tasks.shared.figures import Source


def audit_gallery(
    answers: Sequence[Answer],
    cases: Mapping[int, Case],
    truths: Mapping[int, Label],
    metrics: Mapping[str, float],
    claims: Mapping[str, Sequence[Sequence[str]]],
    *,
    source: Source,
) -> dict[str, bytes]:
    """Draw the figures of the audit for which there is something to draw.

    Args:
        answers: to plain requests and under controls.
        cases: the classifier's own evidence, by case index.
        truths: the true classes, by case index.
        metrics: the audit's, by MLflow name.
        claims: kind, words and status of the unsupported claims of each plain row that has any.
        source: what they are made from.

    Returns:
        PNG bytes by name.
    """
    reports = plain_reports(answers)
    scored = [answer for answer in answers if answer.control == "none" and answer.decided_score is not None]
    strategies = list(dict.fromkeys(answer.strategy for answer in reports))
    classifier = label_scores([case.label for case in cases.values()], [truths[index] for index in cases])
    found = {
        name: [[(kind, status) for kind, _, status in claims.get(a.row_id, ())] for a in reports if a.strategy == name]
        for name in strategies
    }
    told = {name: _told([answer for answer in answers if answer.strategy == name]) for name in strategies}
    drawings: dict[str, Callable[[], Drawing | None]] = {
        "label_scores": lambda: label_scores_figure(metrics, {name: rate.value for name, rate in classifier.items()}),
        **{name: partial(dots_figure, metrics, panels, title) for name, (title, panels) in DOT_FIGURES.items()},
        "agreement": lambda: agreement_figure(metrics),
        "claims": lambda: claims_figure(found, KINDS if all(case.of_a_chest for case in cases.values()) else ()),
        "controls": lambda: controls_figure(metrics),
        "anchoring": lambda: anchoring_figure(metrics, told),
        "yes_no_score": lambda: score_figure(
            np.array([answer.score for answer in scored], np.float64),
            np.array([cases[answer.case_index].probability for answer in scored], np.float64),
            np.array([truths[answer.case_index] == "pneumonia" for answer in scored], np.int64),
        ),
        "usage": lambda: usage_figure(
            {name: [a.usage for a in reports if a.strategy == name and a.usage] for name in strategies}
        ),
    }
    shown = f"test, {len(reports)} reports on {len(cases)} cases"
    drawn = {name: draw() for name, draw in drawings.items()}
    return {name: drawing.png(source, shown) for name, drawing in drawn.items() if drawing is not None}


def _told(answers: Sequence[Answer]) -> list[tuple[float, float]]:
    """Pair the probability told with the label; nothing for a strategy that is told the same whatever the control."""
    if not any(answer.control in ("flipped", "even") for answer in answers):
        return []
    return [
        (answer.shown_probability, float(label == "pneumonia"))
        for answer in answers
        if answer.control in ("none", "flipped", "even")
        and answer.shown_probability is not None
        and (label := label_of(answer)) is not None
    ]
