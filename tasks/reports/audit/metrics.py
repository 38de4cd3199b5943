"""The audit of reports: are they right, committed, free of invention, varied, and what do they depend on?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.report_generation.prompting import YES_NO, plain_reports
from models.report_generation.schema import Answer, Case, Control, Label, Report
from tasks.reports.audit.agreement import agreement_with_classifier, holm, label_scores
from tasks.reports.audit.collapse import distinct_n, duplicates, mean_similarity
from tasks.reports.audit.conservatism import label_bias, reticence
from tasks.reports.audit.control_effects import Pair, anchoring_slope, label_of, report_effects, score_change
from tasks.reports.audit.reference_file import Reference
from tasks.reports.audit.references import ReferenceAudit, compare_with_references
from tasks.reports.audit.scores import probability_scores
from tasks.reports.claims.lexicon import KINDS
from tasks.reports.claims.matching import MATCHER_F1, Claim, unsupported_claims
from tasks.shared.estimates import Estimate, share


@dataclass(frozen=True)
class AuditedReport:
    """One answer to a plain request for a report, beside the truth.

    Attributes:
        answer: the answer.
        label_right: whether its label is the true class; False without a label or a report.
        agrees: whether its label is the classifier's; False without a label or a report.
        claims: claims that the image cannot support.
    """

    answer: Answer
    label_right: bool
    agrees: bool
    claims: tuple[Claim, ...]

    @property
    def report(self) -> Report | None:
        """The report, or None where none could be read from what was written."""
        return self.answer.report


@dataclass(frozen=True)
class ReportAudit:
    """The audit of a set of answers.

    Attributes:
        metrics: value by MLflow name; what cannot be told from these answers is left out.
        reports: one per answer to a plain request for a report, in the order of the answers.
        references: the comparison with reference reports, or None where none were given.
    """

    metrics: dict[str, float]
    reports: tuple[AuditedReport, ...]
    references: ReferenceAudit | None = None


def audit_reports(
    answers: Sequence[Answer],
    cases: Mapping[int, Case],
    truths: Mapping[int, Label],
    references: Sequence[Reference] = (),
) -> ReportAudit:
    """Compare what was written with the schema, the truth, the classifier, the lexicon and what the controls changed.

    Args:
        answers: to plain requests and under controls, of any number of strategies.
        cases: the classifier's own evidence, by case index, whatever a control told.
        truths: the true classes, by case index.
        references: reports that someone else wrote on some of the cases.

    Returns:
        The audit. Metrics without a strategy (`reports/label_accuracy`) are over all plain reports. Those of a strategy
        (`reports/<strategy>/label_accuracy`) have intervals under `_ci_low` and `_ci_high`, and those under a control
        stand at `reports/<strategy>/control/<control>/`, those beside the references at
        `reports/references/<strategy>/`. An answer without a report counts as a wrong label. What is about normal and
        pneumonia alone (sensitivity, bias, claims) is left out for other classes.

    Raises:
        ValueError: an answer's case is not known, its report is on another case, or a case has two answers to the same
            request.
    """
    _check(answers, cases, truths)
    reports = tuple(
        _audited(answer, cases[answer.case_index], truths[answer.case_index]) for answer in plain_reports(answers)
    )
    metrics: dict[str, float | Estimate] = {
        "count": float(len(reports)),
        "parsed": _mean([entry.report is not None for entry in reports]),
        "label_accuracy": _mean([entry.label_right for entry in reports]),
        "agreement_with_classifier": _mean([entry.agrees for entry in reports]),
        **(_claim_metrics(reports) | {"claim_matcher_f1": MATCHER_F1} if _of_chests(cases) else {}),
        "undecided": _mean([a.undecided for a in answers if a.control == "none" and a.choice_mass is not None]),
    }
    strategies = tuple(dict.fromkeys(answer.strategy for answer in answers))
    for strategy in strategies:
        own = [answer for answer in answers if answer.strategy == strategy]
        if strategy == YES_NO:
            found = _score_metrics(own, cases, truths)
        else:
            found = _report_metrics([entry for entry in reports if entry.answer.strategy == strategy], cases, truths)
            found |= _dependence(own, cases, truths)
        metrics |= {f"{strategy}/{name}": value for name, value in found.items()}
    compared = compare_with_references(answers, cases, references) if references else None
    if compared:
        metrics |= {f"references/{name}": value for name, value in compared.metrics.items()}
    flat = _flat(metrics)
    p_values = {s: flat[name] for s in strategies if (name := f"reports/{s}/mcnemar_p") in flat}
    flat |= {f"reports/{strategy}/mcnemar_p_holm": p for strategy, p in holm(p_values).items()}
    return ReportAudit(flat, reports, compared)


def _check(answers: Sequence[Answer], cases: Mapping[int, Case], truths: Mapping[int, Label]) -> None:
    seen = set()
    for answer in answers:
        key = answer.strategy, answer.control, answer.case_index
        if answer.case_index not in cases or answer.case_index not in truths:
            raise ValueError(f"case {answer.case_index} has an answer, but no evidence or no true class")
        if answer.report and answer.report.case_index != answer.case_index:
            raise ValueError(f"a report on case {answer.report.case_index} answers for case {answer.case_index}")
        if key in seen:
            raise ValueError(f"case {answer.case_index} has two answers in {answer.strategy}, control {answer.control}")
        seen.add(key)


def _audited(answer: Answer, case: Case, truth: Label) -> AuditedReport:
    label = label_of(answer)
    claims = claims_of(answer) if case.of_a_chest else ()
    return AuditedReport(answer, label == truth, label is not None and label == case.label, claims)


def _of_chests(cases: Mapping[int, Case]) -> bool:
    """Tell whether the lexicon of claims, which is of chest X-rays, applies."""
    return all(case.of_a_chest for case in cases.values())


def _claim_metrics(reports: Sequence[AuditedReport]) -> dict[str, float | Estimate]:
    return {"unsupported_claims_per_report": _mean([len(entry.claims) for entry in reports])}


def claims_of(answer: Answer) -> tuple[Claim, ...]:
    """Find what an answer claims and its image cannot support."""
    return tuple(claim for passage in _claiming(answer) for claim in unsupported_claims(passage))


def _claiming(answer: Answer) -> list[str]:
    """Return the passages that claim something: not the limitations, nor what is said not to be assessable."""
    report = answer.report
    if report is None:
        return [answer.text]
    findings = [f"{f.name}: {f.detail}" for f in report.findings if f.presence != "not assessable"]
    differential = [f"Differential: {alternative}" for alternative in report.differential]
    return [report.impression, report.certainty, *findings, *differential, *report.asides]


def _report_metrics(
    entries: Sequence[AuditedReport], cases: Mapping[int, Case], truths: Mapping[int, Label]
) -> dict[str, float | Estimate]:
    """Audit the plain reports of one strategy."""
    indices = [entry.answer.case_index for entry in entries]
    labels, true = [label_of(entry.answer) for entry in entries], [truths[index] for index in indices]
    texts = [entry.report.impression if entry.report else entry.answer.text for entry in entries]
    agreement = agreement_with_classifier(labels, [cases[index].label for index in indices], true)
    duplicate_rate, largest = duplicates(texts)
    claimed: dict[str, float | Estimate] = {}
    if _of_chests(cases):
        kinds = [{claim.kind for claim in entry.claims} for entry in entries]
        claimed = {f"claims/{kind.replace(' ', '_')}": share(kind in found for found in kinds) for kind in KINDS}
        claimed |= _claim_metrics(entries)
    return {
        "count": float(len(entries)),
        **label_scores(labels, true),
        **agreement._asdict(),
        **label_bias(labels, true),
        **reticence([entry.report for entry in entries]),
        **claimed,
        "distinct_1": distinct_n(texts, 1),
        "distinct_2": distinct_n(texts, 2),
        "duplicate_rate": duplicate_rate,
        "largest_duplicate_group": float(largest),
        "text_similarity": mean_similarity(texts),
    }


def _dependence(
    answers: Sequence[Answer], cases: Mapping[int, Case], truths: Mapping[int, Label]
) -> dict[str, float | Estimate]:
    """Audit what the reports of one strategy depend on."""
    metrics: dict[str, float | Estimate] = {}
    for control, pairs in _pairs(answers, cases, truths).items():
        effects = report_effects(control, pairs)
        metrics |= {f"control/{control}/{name}": rate for name, rate in effects.items()}
    return metrics | {"anchoring_slope": _anchoring(answers, _calls_pneumonia)}


def _score_metrics(
    answers: Sequence[Answer], cases: Mapping[int, Case], truths: Mapping[int, Label]
) -> dict[str, float | Estimate]:
    """Audit the scores of the yes-or-no question, those of undecided answers left out, beside the classifier."""
    scored = {a.case_index: p for a in answers if a.control == "none" and (p := a.decided_score) is not None}
    true = np.array([truths[index] == "pneumonia" for index in scored], dtype=bool)
    scores = probability_scores(np.array(list(scored.values()), np.float64), true)
    classifier = probability_scores(np.array([cases[index].probability for index in scored], np.float64), true)
    metrics: dict[str, float | Estimate] = {
        **scores,
        **{f"classifier_{name}": rate for name, rate in classifier.items()},
    }
    for control, pairs in _pairs(answers, cases, truths).items():
        changed, plain = [pair.changed.decided_score for pair in pairs], [pair.plain.decided_score for pair in pairs]
        metrics[f"control/{control}/score_change"] = score_change(changed, plain)
    return metrics | {"anchoring_slope": _anchoring(answers, lambda answer: answer.decided_score)}


def _calls_pneumonia(answer: Answer) -> float | None:
    label = label_of(answer)
    return None if label is None else float(label == "pneumonia")


def _anchoring(answers: Sequence[Answer], outcome: Callable[[Answer], float | None]) -> Estimate:
    """Regress an outcome on the probability told, over the answers that have both and differ in nothing else."""
    rows = [
        (answer.case_index, answer.shown_probability, value)
        for answer in answers
        if answer.control in ("none", "flipped", "even")
        and answer.shown_probability is not None
        and (value := outcome(answer)) is not None
    ]
    cases, told, outcomes = zip(*rows, strict=True) if rows else ((), (), ())
    return anchoring_slope(cases, told, outcomes)


def _pairs(
    answers: Sequence[Answer], cases: Mapping[int, Case], truths: Mapping[int, Label]
) -> dict[Control, list[Pair]]:
    """Put each answer under a control beside the plain answer of its case, by control."""
    plain = {answer.case_index: answer for answer in answers if answer.control == "none"}
    found: dict[Control, list[Pair]] = {}
    for answer in answers:
        if answer.control != "none" and answer.case_index in plain:
            suggested = _suggested(answer, cases[answer.case_index], truths[answer.case_index])
            found.setdefault(answer.control, []).append(Pair(plain[answer.case_index], answer, suggested))
    return found


def _suggested(answer: Answer, case: Case, truth: Label) -> Label | None:
    """Return the label that another patient's image or a flipped probability suggests; see `Pair`."""
    if answer.control in ("same_label", "other_label"):
        return truth if answer.control == "same_label" else case.other(truth)
    if answer.control == "flipped" and answer.shown_probability is not None:
        told = case.label_at(answer.shown_probability)
        return None if told == case.label else told
    return None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _flat(metrics: Mapping[str, float | Estimate]) -> dict[str, float]:
    """Name everything as MLflow does, with intervals as metrics of their own, and leave out what is unknown."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Estimate):
            flat |= {name: value.value, f"{name}_ci_low": value.low, f"{name}_ci_high": value.high}
        else:
            flat[name] = float(value)
    return {f"reports/{name}": value for name, value in flat.items() if not np.isnan(value)}
