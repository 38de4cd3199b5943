"""The markdown report of the reports stage."""

from collections.abc import Mapping, Sequence

from models.markdown import escape
from models.notices import RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.controls import CONTROLS
from models.report_generation.prompting import plain_reports
from models.report_generation.schema import LEAST_CHOICE_MASS, Answer, Case, Label
from tasks.records.reports import GeneratorRecord
from tasks.shared.markdown import document, picture, table

SHOWN_IN_FULL = 1
"""Cases whose reports stand in the document in full, as an example; each case has a page of its own."""
LISTED = 10
"""Rows of the lists of cases and of claims."""
CASES_PAGE = "cases/index.html"
"""The page of all cases, beside the document."""

_SCORES = (
    ("reports", "count"),
    ("label accuracy", "label_accuracy"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
    ("agreement with the classifier", "agreement"),
    ("Cohen's κ with the classifier", "kappa"),
    ("McNemar p, Holm-adjusted", "mcnemar_p_holm"),
    ("unparsed", "unparsed_rate"),
)
_RETICENCE = (
    ("pneumonia called normal", "pneumonia_called_normal"),
    ("normal called pneumonia", "normal_called_pneumonia"),
    ("conservative bias", "conservative_bias"),
    ("hedging", "hedging_rate"),
    ("with a finding not assessable", "not_assessable_reports"),
    ("unsupported claims per report", "unsupported_claims_per_report"),
    ("distinct bigrams", "distinct_2"),
    ("exact duplicates", "duplicate_rate"),
    ("similarity of texts", "text_similarity"),
)
_EFFECTS = {
    "flip_rate": "label changes",
    "follow_rate": "label as suggested",
    "concludes": "still concludes",
    "pneumonia": "says pneumonia",
    "consistency": "same label",
    "identical_text": "same text",
    "identical_label": "same label",
}
_DEPENDENCE = (
    *(
        (f"{control.title}: {_EFFECTS[effect]}", f"control/{name}/{effect}")
        for name, control in CONTROLS.items()
        for effect in control.effects
    ),
    ("anchoring slope", "anchoring_slope"),
)
_REFERENCES = (
    ("BLEU", "bleu"),
    ("chrF", "chrf"),
    *(
        (f"{status}: {title}", f"{status}_{name}")
        for status in ("affirmed", "denied")
        for name, title in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    ),
)
_QUESTION = (
    ("AUROC", "auc"),
    ("Brier score", "brier"),
    ("expected calibration error", "ece"),
)


def reports_summary(
    cases: Sequence[Case],
    groups: Sequence[str],
    truths: Sequence[Label],
    answers: Sequence[Answer],
    metrics: Mapping[str, float],
    claims: Mapping[str, Sequence[Sequence[str]]],
    generator: GeneratorRecord,
    *,
    phantoms: bool,
    signatures: Mapping[str, str] | None = None,
) -> str:
    """Write the report on the reports.

    Args:
        cases: the evidence that the generator was given.
        groups: why each case was chosen.
        truths: the true classes.
        answers: what came of every request.
        metrics: the audit's, by MLflow name.
        claims: kind, words and status of the unsupported claims of each plain row.
        generator: what wrote the reports.
        phantoms: whether the images are drawn phantoms.
        signatures: how the words were compared with references, by score.

    Returns:
        Markdown.
    """
    plain = [answer for answer in answers if answer.control == "none"]
    written = plain_reports(answers)
    strategies = list(dict.fromkeys(answer.strategy for answer in written))
    overall = [(name, _plain(value)) for name, value in metrics.items() if name.count("/") == 1]
    labels = {(answer.case_index, answer.strategy): _label(answer) for answer in written}
    rows = [
        [case.index, group, truth, case.probability, *(labels.get((case.index, name), "") for name in strategies)]
        for case, group, truth in zip(cases, groups, truths, strict=True)
    ]
    found = [
        [answer.case_index, answer.strategy, *claim] for answer in written for claim in claims.get(answer.row_id, ())
    ]
    chest = all(case.of_a_chest for case in cases)
    shown = {case.index for case in cases[:SHOWN_IN_FULL]}
    limits = _common_limits(written)
    texts = [_text(answer, limits) for answer in written if answer.case_index in shown]
    sections = [
        ("What wrote them", _generator(generator, plain)),
        ("Audit", table(["metric", "value"], overall)),
        ("Labels", _LABELS + _comparison(metrics, strategies, _SCORES)),
        ("Bias, invention and collapse", _BIAS + _comparison(metrics, strategies, _RETICENCE)),
        ("What they depend on", _CONTROLS + _dependence(metrics, strategies) if chest else ""),
        ("The yes-or-no question", _question(metrics)),
        ("Against reference reports", _against_references(metrics, strategies, signatures or {})),
        ("Cases", _SHEET + _all_of(len(rows), "cases") + table(
            ["case", "group", "truth", "classifier p", *strategies], rows[:LISTED])),
        ("Unsupported claims", _unsupported(found) if chest else ""),
        ("Limits", (_CHEST_LIMITS if chest else _OTHER_LIMITS) + _LIMITS + "".join(
            f"- {escape(limit)}\n" for limit in limits if limit != RESEARCH_NOTICE)),
        ("One report in full", "\n".join(texts)),
    ]  # fmt: skip
    return document("Reports", [(title, text) for title, text in sections if text], phantoms=phantoms)


def _unsupported(found: Sequence[Sequence[object]]) -> str:
    if not found:
        return "None found."
    return _all_of(len(found), "claims") + table(["case", "strategy", "kind", "words", "status"], found[:LISTED])


def _all_of(count: int, what: str) -> str:
    shown = f"The first {LISTED} of {count} {what}; all" if count > LISTED else f"All {count} {what}"
    return f"{shown} stand on [the pages of the cases]({CASES_PAGE}), with images and reports in full.\n\n"


def _common_limits(answers: Sequence[Answer]) -> list[str]:
    """Return the limitations that every report names, which are said once."""
    named = [answer.report.limitations for answer in answers if answer.report]
    return [limit for limit in named[0] if all(limit in others for others in named)] if named else []


def _dependence(metrics: Mapping[str, float], strategies: Sequence[str]) -> str:
    """Put the effects of the controls into two tables, since one would be long: of the image, and of all else."""
    images = [row for row in _DEPENDENCE if row[1].startswith(_OF_IMAGES)]
    others = [row for row in _DEPENDENCE if not row[1].startswith(_OF_IMAGES)]
    return "\n".join(filter(None, (_comparison(metrics, strategies, rows) for rows in (images, others))))


_SHEET = picture(
    "contact_sheet",
    "Some cases: the image, where the evidence lies, what the classifier and the report say.",
)
_LABELS = picture(
    "label_scores", "How often the labels of the reports are the true class, beside the classifier on the same cases."
) + picture("agreement", "Whose label is correct where report and classifier agree and where they do not.")
_BIAS = (
    picture("reticence", "Whether the reports lean to normal, hedge or say nothing.")
    + picture("claims", "What the reports claim though the image cannot show it, by kind: the darker, the more often.")
    + picture("collapse", "Whether the texts on different images are the same: then they say nothing of the image.")
)
_CONTROLS = (
    picture(
        "controls", "What a report says when the image or the probability is another: what it depends on, it follows."
    )
    + picture("anchoring", "How the conclusion follows the probability that the generator is told.")
    + picture("stability", "Whether the same question gives the same answer again.")
)
_YES_NO = picture("yes_no_score", "The probability of a yes as a score, beside the classifier on the same cases.")
_USAGE = picture("usage", "Tokens and seconds that a report takes.")
_OF_IMAGES = tuple(f"control/{name}/" for name, control in CONTROLS.items() if control.changes in ("image", "patient"))
_WHAT_REFERENCES_SAY = """\
BLEU and chrF count words and letters in common: they reward the reference's phrasing, hardly notice a missing "no", and
say nothing of whether a report is right. Affirmed and denied are the kinds of claims (effusion, heart size, side,
opacity and others) that report and reference both make, found by this project's lexicon and rules: it is not RadGraph
F1, CheXbert or GREEN, and its figures cannot be compared with theirs. A reference may itself be wrong, or say what so
small a picture cannot show. The words were compared by [sacreBLEU](https://github.com/mjpost/sacrebleu):
"""
_CHEST_LIMITS = """\
- No radiologist has read the reports.
- Unsupported claims are found with a lexicon and rules of negation, whose F1 on sentences labelled by hand is
  `reports/claim_matcher_f1`; it misses paraphrases. A denial ("no effusion") counts: it cannot be seen either.
"""
_OTHER_LIMITS = """\
- No expert has read the reports. Controls, bias between normal and pneumonia, and claims that an image cannot support
  are measured for chest X-rays alone.
"""
_LIMITS = """\
- The cases are chosen to show correct, incorrect and borderline ones in equal parts: the shares above describe these
  cases, not the test split.
- A report that only words the classifier's label agrees with it by construction; its accuracy is the classifier's.
- Intervals are Wilson's or a bootstrap over cases, at 95 %.
"""


def _generator(generator: GeneratorRecord, plain: Sequence[Answer]) -> str:
    if generator.model is None:
        return f"The generator {escape(generator.name)}. No language model wrote any of them."
    usages = [answer.usage for answer in plain if answer.usage]
    tokens, seconds = sum(usage.generated_tokens for usage in usages), sum(usage.seconds for usage in usages)
    cut, thinking = sum(usage.finish_reason == "length" for usage in usages), generator.thinking_tokens
    attention = sorted({usage.attention for usage in usages if usage.attention})
    where = (
        f"in {escape(generator.precision)} on {escape(generator.device)}"
        if generator.server is None
        else f"on {escape(generator.server)} ({escape(generator.server_version)}), all as the server says"
    )
    revision = f", revision {escape(generator.revision)}" if generator.revision else ""
    thought = f"at most {thinking} tokens of thought" if thinking else "no thought"
    text = (
        f"The language model {escape(generator.model)}{revision}, {where}, greedy, "
        f"image {'first' if generator.image_first else 'last'}"
        f"{f', conventions of MedGemma {generator.conventions}' if generator.conventions else ''}"
        f"{f', {thought}' if generator.server is None else ''}. "
        f"{len(usages)} plain answers took {tokens} tokens and {seconds:.1f} s; {cut} were cut at their limit."
        + (f" Attention was computed by: {', '.join(attention)}." if attention else "")
    )
    notice = f"**{RANDOM_WEIGHTS_NOTICE}**\n\n" if generator.random_weights else ""
    return f"{notice}{_USAGE}{text}"


def _comparison(
    metrics: Mapping[str, float],
    strategies: Sequence[str],
    rows: Sequence[tuple[str, str]],
    titles: Sequence[str] | None = None,
) -> str:
    """Put the strategies side by side, with what is known of any of them."""
    known = [
        [title, *(_with_interval(metrics, f"reports/{strategy}/{name}") for strategy in strategies)]
        for title, name in rows
        if any(f"reports/{strategy}/{name}" in metrics for strategy in strategies)
    ]
    return table(["", *(titles or strategies)], known) if known else ""


def _question(metrics: Mapping[str, float]) -> str:
    rows = [
        [
            title,
            _with_interval(metrics, f"reports/yes_no/{name}"),
            _with_interval(metrics, f"reports/yes_no/classifier_{name}"),
        ]
        for title, name in _QUESTION
        if f"reports/yes_no/{name}" in metrics
    ]
    found = _YES_NO + table(["", "P(yes) of the language model", "the classifier, same cases"], rows) if rows else ""
    if undecided := metrics.get("reports/undecided"):
        found += (
            f"\n{undecided:.0%} of the answers are undecided and left out: Yes and No hold less than "
            f"{LEAST_CHOICE_MASS} of the probability of the first token.\n"
        )
    return found


def _against_references(metrics: Mapping[str, float], strategies: Sequence[str], signatures: Mapping[str, str]) -> str:
    if "reports/references/cases" not in metrics:
        return ""
    count = int(metrics["reports/references/cases"])
    if not count:
        return "None of the references is on one of these cases: nothing could be compared."
    scores = _comparison(metrics, [f"references/{strategy}" for strategy in strategies], _REFERENCES, strategies)
    scored_by = "".join(f"- `{signature}`\n" for signature in signatures.values())
    return f"{count} of these cases have a reference report.\n\n{scores}\n{_WHAT_REFERENCES_SAY}\n{scored_by}"


def _with_interval(metrics: Mapping[str, float], name: str) -> str:
    if name not in metrics:
        return ""
    value, low, high = (metrics.get(f"{name}{suffix}") for suffix in ("", "_ci_low", "_ci_high"))
    shown = _plain(metrics[name])
    text = str(shown) if isinstance(shown, int) else f"{value:.3f}"
    return text if low is None or high is None else f"{text} ({low:.2f} – {high:.2f})"


def _label(answer: Answer) -> str:
    if answer.report is None:
        return "no report"
    return answer.report.label or "no label"


def _text(answer: Answer, said: Sequence[str]) -> str:
    if answer.report:
        return answer.report.as_markdown(said=said)
    quoted = "\n".join(f"> {escape(line)}" for line in answer.text.splitlines()) or "> (nothing)"
    return (
        f"### Case {answer.case_index}, {escape(answer.strategy)}\n\nNo report: {escape(answer.problem)}\n\n{quoted}\n"
    )


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) > 1 else value
