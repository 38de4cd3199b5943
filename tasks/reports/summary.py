"""The markdown report of the reports stage."""

from collections.abc import Mapping, Sequence

from models.markdown import escape
from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.controls import CONTROLS
from models.report_generation.prompting import plain_reports
from models.report_generation.schema import Answer, Case, Label
from tasks.records.reports import GeneratorRecord
from tasks.shared.markdown import document, table

SHOWN_IN_FULL = 24
"""Cases whose reports stand in the document in full; every report is in the table and has a page of its own."""

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
    shown = {case.index for case in cases[:SHOWN_IN_FULL]}
    texts = [_text(answer) for answer in written if answer.case_index in shown]
    sections = [
        ("What wrote them", _generator(generator, plain)),
        ("Audit", table(["metric", "value"], overall)),
        ("Labels", _comparison(metrics, strategies, _SCORES)),
        ("Bias, invention and collapse", _comparison(metrics, strategies, _RETICENCE)),
        ("What they depend on", _comparison(metrics, strategies, _DEPENDENCE)),
        ("The yes-or-no question", _question(metrics)),
        ("Cases", table(["case", "group", "truth", "classifier p", *strategies], rows)),
        (
            "Unsupported claims",
            table(["case", "strategy", "kind", "words", "status"], found) if found else "None found.",
        ),
        ("Limits", _LIMITS),
        (f"Full text of the first {min(len(cases), SHOWN_IN_FULL)} cases", "\n".join(texts)),
    ]
    return document("Reports", [(title, text) for title, text in sections if text], phantoms=phantoms)


_LIMITS = """
- The cases are chosen to show right, wrong and borderline ones in equal parts: the shares above describe these cases,
  not the test split.
- A report that only words the classifier's label agrees with it by construction; its accuracy is the classifier's.
- Unsupported claims are found with a lexicon and rules of negation, whose F1 on sentences labelled by hand is
  `reports/claim_matcher_f1`; it misses paraphrases. A denial ("no effusion") counts: it cannot be seen either.
- Intervals are Wilson's or a bootstrap over cases, at 95 %.
- No radiologist has read the reports.
"""


def _generator(generator: GeneratorRecord, plain: Sequence[Answer]) -> str:
    if generator.model is None:
        return f"The generator {escape(generator.name)}. No language model wrote any of them."
    usages = [answer.usage for answer in plain if answer.usage]
    tokens, seconds = sum(usage.generated_tokens for usage in usages), sum(usage.seconds for usage in usages)
    cut = sum(usage.finish_reason == "length" for usage in usages)
    text = (
        f"The language model {escape(generator.model)}, revision {escape(generator.revision)}, in "
        f"{escape(generator.precision)} on {escape(generator.device)}, greedy, "
        f"image {'first' if generator.image_first else 'last'}. "
        f"{len(usages)} plain answers took {tokens} tokens and {seconds:.1f} s; {cut} were cut at their limit."
    )
    return f"**{RANDOM_WEIGHTS_NOTICE}**\n\n{text}" if generator.random_weights else text


def _comparison(metrics: Mapping[str, float], strategies: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    """Put the strategies side by side, with what is known of any of them."""
    known = [
        [title, *(_with_interval(metrics, f"reports/{strategy}/{name}") for strategy in strategies)]
        for title, name in rows
        if any(f"reports/{strategy}/{name}" in metrics for strategy in strategies)
    ]
    return table(["", *strategies], known) if known else ""


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
    return table(["", "P(yes) of the language model", "the classifier, same cases"], rows) if rows else ""


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


def _text(answer: Answer) -> str:
    if answer.report:
        return answer.report.as_markdown()
    quoted = "\n".join(f"> {escape(line)}" for line in answer.text.splitlines()) or "> (nothing)"
    return (
        f"### Case {answer.case_index}, {escape(answer.strategy)}\n\nNo report: {escape(answer.problem)}\n\n{quoted}\n"
    )


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) > 1 else value
