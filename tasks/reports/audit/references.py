"""Reports beside reference reports on the same images: words in common, and claims in common.

RadGraph F1 (Jain et al., 2021), CheXbert (Smit et al., 2020) and GREEN (Ostmeier et al., 2024), which the literature
uses, read both reports with trained models, whose weights have to be fetched; here the words are compared by sacreBLEU
(Post, A Call for Clarity in Reporting BLEU Scores, 2018) and the claims by this project's own lexicon.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.report_generation.assertion import Mention, read_statuses
from models.report_generation.prompting import plain_reports
from models.report_generation.schema import Answer, Case
from tasks.reports.audit.reference_file import Reference
from tasks.reports.claims.matching import find_claims, split_sentences
from tasks.shared.bootstrap import interval, resample_counts
from tasks.shared.estimates import Estimate

_SAMPLES, _SEED = 1000, 0
_OPACITY = re.compile(r"pneumonia|consolidat\w+|opaci\w+|infiltrat\w+", re.IGNORECASE)
_ASSERTIONS = ("affirmed", "denied")


@dataclass(frozen=True)
class ReferenceAudit:
    """What the comparison gave.

    Attributes:
        metrics: estimates by name: `<strategy>/bleu` and the like, and `cases`, those that have a reference.
        signatures: sacreBLEU's own description of each score, by score.
        chrf: chrF of each compared answer by itself, by row id, in [0, 1].
        texts: the reference of each case that has one, by case index.
    """

    metrics: dict[str, float | Estimate]
    signatures: dict[str, str]
    chrf: dict[str, float]
    texts: dict[int, str]


def compare_with_references(
    answers: Sequence[Answer], cases: Mapping[int, Case], references: Sequence[Reference]
) -> ReferenceAudit:
    """Compare the plain reports with the references of their cases.

    Args:
        answers: to plain requests and under controls.
        cases: the cases that have reports, by index.
        references: of any test images; those of others than these cases are left out.

    Returns:
        For each strategy `bleu` and `chrf` of all its compared reports, and of the kinds of claims that a report
        affirms (and denies, in the same way) `affirmed_precision`, the share that the reference affirms as well,
        `affirmed_recall`, the share of the reference's that the report has, and `affirmed_f1`; all in [0, 1], with
        95 % percentile bootstrap intervals over the cases. An answer without a report is compared as it was written.
    """
    from sacrebleu.metrics import BLEU, CHRF

    texts = _by_case(references, cases)
    metrics: dict[str, float | Estimate] = {"cases": float(len(texts))}
    scores = {"bleu": BLEU(), "chrf": CHRF()}
    chrf: dict[str, float] = {}
    compared = [answer for answer in plain_reports(answers) if answer.case_index in texts]
    for strategy in dict.fromkeys(answer.strategy for answer in compared):
        own = [answer for answer in compared if answer.strategy == strategy]
        written, wanted = [report_words(answer) for answer in own], [texts[answer.case_index] for answer in own]
        found = {name: _score(score, written, wanted) for name, score in scores.items()}
        for answer, text, reference in zip(own, written, wanted, strict=True):
            chrf[answer.row_id] = _share(scores["chrf"].sentence_score(text, [reference]))
        found |= _claims(written, wanted)
        metrics |= {f"{strategy}/{name}": estimate for name, estimate in found.items()}
    signatures = {name: str(score.get_signature()) for name, score in scores.items()} if compared else {}
    return ReferenceAudit(metrics, signatures, chrf, texts)


def report_words(answer: Answer) -> str:
    """Write what an answer says of the picture, as a reference would: findings, then impression."""
    report = answer.report
    if report is None:
        return answer.text
    findings = [f"{finding.name}: {finding.presence}. {finding.detail}".strip() for finding in report.findings]
    return "\n".join([*findings, report.impression])


def asserted(text: str) -> dict[str, set[str]]:
    """Find which kinds of things a text affirms, and which it denies.

    Args:
        text: what a report says.

    Returns:
        Kinds by status: those of the lexicon, and `opacity` for pneumonia, consolidation, opacity and infiltrate. What
        is hedged or said not to be assessable is in neither.
    """
    found = [(claim.kind, claim.status) for claim in find_claims(text)]
    for sentence in split_sentences(text):
        mentions = [Mention(sentence, "opacity", *match.span()) for match in _OPACITY.finditer(sentence)]
        found += [("opacity", status) for status in read_statuses(sentence, mentions)]
    return {status: {kind for kind, said in found if said == status} for status in _ASSERTIONS}


def _by_case(references: Sequence[Reference], cases: Mapping[int, Case]) -> dict[int, str]:
    named = {(one.case, one.image_sha256): one.text for one in references}
    keys = {index: ((index, None), (None, case.image_sha256)) for index, case in cases.items()}
    return {index: named[key] for index, both in keys.items() for key in both if key in named}


def _score(metric: Any, written: Sequence[str], wanted: Sequence[str]) -> Estimate:
    """Score all at once, as sacreBLEU does, from the sums of what it counts in each text."""
    counted = np.array(metric._extract_corpus_statistics(list(written), [list(wanted)]), dtype=np.float64)
    everything, *drawn = np.concatenate([np.ones((1, len(counted))), _samples(len(counted))]) @ counted
    resampled = np.array([_of_sums(metric, sums) for sums in drawn])
    return Estimate(_of_sums(metric, everything), *interval(resampled), len(counted))


def _of_sums(metric: Any, sums: NDArray[np.float64]) -> float:
    return _share(metric._compute_score_from_stats([int(count) for count in sums]))


def _share(score: Any) -> float:
    return min(float(score.score) / 100, 1.0)  # equal texts get 100.00000000000004


def _samples(count: int) -> NDArray[np.float64]:
    return resample_counts(count, _SAMPLES, _SEED)


def _claims(written: Sequence[str], wanted: Sequence[str]) -> dict[str, Estimate]:
    pairs = [(asserted(text), asserted(reference)) for text, reference in zip(written, wanted, strict=True)]
    found: dict[str, Estimate] = {}
    weights = np.concatenate([np.ones((1, len(pairs))), _samples(len(pairs))])
    for status in _ASSERTIONS:
        counts = np.array(
            [[len(said[status] & meant[status]), len(said[status]), len(meant[status])] for said, meant in pairs]
        )
        both, said_all, meant_all = (weights @ counts).T
        with np.errstate(invalid="ignore"):  # a sample in which nothing is claimed is left out of the interval
            shares = {"precision": both / said_all, "recall": both / meant_all, "f1": 2 * both / (said_all + meant_all)}
        for name, (value, *resampled) in shares.items():
            found[f"{status}_{name}"] = Estimate(float(value), *interval(np.array(resampled)), len(pairs))
    return found
