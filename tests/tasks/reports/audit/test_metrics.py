"""The audit on made-up answers: by hand, and with one known fault at a time in answers that have none.

The honest generator reads the image and nothing else: its label is the classifier's on the image that it is shown,
whatever probability it is told, and where the image shows nothing it does not conclude. Its words are the template's.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest

from models.report_generation.controls import CONTROLS as CONDITIONS
from models.report_generation.controls import control_case, control_image
from models.report_generation.generator import row_of
from models.report_generation.schema import Answer, Case, Finding, Label, NeighbourEvidence, Report, Request
from models.report_generation.template import TemplateGenerator
from tasks.reports.audit.collapse import distinct_n
from tasks.reports.audit.metrics import ReportAudit, audit_reports
from tasks.reports.claims.lexicon import KINDS
from tasks.reports.requests import plan_requests

PROBABILITIES = (0.98, 0.95, 0.91, 0.85, 0.8, 0.7, 0.66, 0.2, 0.02, 0.05, 0.12, 0.25, 0.33, 0.9)
TRUTHS: dict[int, Label] = {i: "pneumonia" if i < 8 else "normal" for i in range(14)}  # one missed, one false alarm
REGIONS = ("upper left", "upper right", "lower left", "lower right", "centre")
IMAGES = np.random.default_rng(0).integers(0, 256, (14, 28, 28), dtype=np.uint8)
CLASSES = np.array([int(TRUTHS[i] == "pneumonia") for i in range(14)])
CONTROLS = ("none", *CONDITIONS)
TEMPLATE = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False)


def neighbours(index: int) -> tuple[NeighbourEvidence, ...]:
    return tuple(
        NeighbourEvidence(
            index=rank, label="pneumonia" if rank < index % 4 else "normal", similarity=0.9, split="train"
        )
        for rank in range(1 + index % 3)
    )


CASES = {
    index: Case(
        index=index,
        image_sha256=str(index),
        probability=probability,
        threshold=0.5,
        heat_region=f"{REGIONS[index % 5]} of the image",
        heat_share=0.3,
        neighbours=neighbours(index),
    )
    for index, probability in enumerate(PROBABILITIES)
}


def template(case: Case, control: str = "none") -> Report:
    """Have the template put evidence into words."""
    request = Request(case=case, image=0, image_sha256="", strategy="template", control=control)
    ((written,),) = TEMPLATE.write([row_of(TEMPLATE, request)], IMAGES[:1])
    return TEMPLATE.read(request, written.text)


def answer(report: Report | None, index: int | None = None, control="none", text=None, told=None, **fields) -> Answer:
    index = report.case_index if index is None else index
    return Answer(
        **{"row_id": f"{index} {control}", "strategy": "honest", "prompt": ""}
        | {"case_index": index, "control": control, "shown_probability": told, "report": report}
        | {"text": report.model_dump_json() if text is None else text}
        | fields
    )


def seen(control: str, index: int) -> int | None:
    """Find out whose image is shown; None for an image of nobody."""
    image = control_image(control, index, IMAGES, CLASSES, seed=0)
    return next((i for i in range(14) if image is not None and (IMAGES[i] == image).all()), None)


SHOWN = {(control, index): seen(control, index) for control in CONTROLS for index in CASES}


def honest_answer(control: str, index: int) -> Answer:
    source = SHOWN[control, index]
    probability = None if source is None else PROBABILITIES[source]
    report = template(CASES[index].model_copy(update={"probability": probability}), control)
    return answer(report, control=control, told=control_case(control, CASES[index]).probability)


HONEST = [honest_answer(control, index) for control in CONTROLS for index in CASES]


def audit(answers: list[Answer]) -> ReportAudit:
    return audit_reports(answers, CASES, TRUTHS)


# One known fault at a time


def changed(original: Answer, **fields) -> Answer:
    report = original.report.model_copy(update=fields)
    return original.model_copy(update={"report": report, "text": report.model_dump_json()})


def always_normal(one: Answer) -> Answer:
    return changed(one, label="normal")


def always_pneumonia(one: Answer) -> Answer:
    return changed(one, label="pneumonia")


def hedging(one: Answer) -> Answer:
    return changed(one, certainty=f"possibly otherwise; {one.report.certainty}")


def declining(one: Answer) -> Answer:
    return changed(
        one, findings=tuple(f.model_copy(update={"presence": "not assessable"}) for f in one.report.findings)
    )


def copied_text(one: Answer) -> Answer:
    return changed(one, impression=HONEST[0].report.impression)


def invented_effusion(one: Answer) -> Answer:
    first, *others = one.report.findings
    invented = first.model_copy(update={"detail": f"{first.detail} There is a small pleural effusion."})
    return changed(one, findings=(invented, *others))


def following_the_probability(one: Answer) -> Answer:
    if one.control not in ("flipped", "even"):
        return one
    told = template(control_case(one.control, CASES[one.case_index]), one.control)
    return one.model_copy(update={"report": told, "text": told.model_dump_json()})


def ignoring_the_image(one: Answer) -> Answer:
    if one.control == "none" or CONDITIONS[one.control].image is None:
        return one
    own = template(CASES[one.case_index])
    return one.model_copy(update={"report": own, "text": own.model_dump_json()})


def depending_on_the_words(one: Answer) -> Answer:
    if one.control != "paraphrase" or one.case_index % 2:
        return one
    return changed(one, label="normal" if one.report.label == "pneumonia" else "pneumonia")


def depending_on_the_batch(one: Answer) -> Answer:
    if one.control not in ("companions", "alone") or one.case_index % 2:
        return one
    other = "normal" if one.report.label == "pneumonia" else "pneumonia"
    return changed(one, certainty="sure", label=other if one.case_index % 4 == 0 else one.report.label)


def unreadable(one: Answer) -> Answer:
    if one.control not in ("companions", "alone"):
        return one
    return one.model_copy(update={"report": None, "text": "pneumonia, I gather"})


UP, DOWN, NEW = "up", "down", "new"
WRONG_LABELS = {
    "reports/label_accuracy": DOWN, "reports/agreement_with_classifier": DOWN,
    "label_accuracy": DOWN, "agreement": DOWN, "kappa": DOWN, "mcnemar_p": DOWN, "mcnemar_p_holm": DOWN,
    "both_right": DOWN, "only_report_right": UP, "only_classifier_right": UP, "both_wrong": DOWN,
}  # fmt: skip
ONE_LABEL = {
    "control/same_label/flip_rate": DOWN,
    "control/other_label/flip_rate": DOWN, "control/other_label/follow_rate": DOWN,
    **{f"control/{control}/{name}": moves for control in ("blank", "noise", "no_image")
       for name, moves in (("flip_rate", NEW), ("concludes", UP))},
}  # fmt: skip

OTHER_BATCH = {
    f"control/{control}/{name}": DOWN
    for control in ("companions", "alone") for name in ("identical_text", "identical_label")
}  # fmt: skip

FAULTS: dict[Callable[[Answer], Answer], dict[str, str]] = {
    always_normal: WRONG_LABELS | ONE_LABEL | {
        "control/same_label/follow_rate": DOWN,
        "sensitivity": DOWN, "specificity": UP,
        "pneumonia_called_normal": UP, "normal_called_pneumonia": DOWN, "conservative_bias": UP,
        "control/flipped/follow_rate": UP,
    },
    always_pneumonia: WRONG_LABELS | ONE_LABEL | {
        "control/same_label/follow_rate": DOWN,
        "sensitivity": UP, "specificity": DOWN,
        "pneumonia_called_normal": DOWN, "normal_called_pneumonia": UP, "conservative_bias": DOWN,
        "control/flipped/follow_rate": UP,
        **{f"control/{control}/pneumonia": UP for control in ("blank", "noise", "no_image")},
    },
    hedging: {"hedging_rate": UP},
    declining: {"not_assessable_findings": UP},
    copied_text: {
        "distinct_1": DOWN, "distinct_2": DOWN, "duplicate_rate": UP, "largest_duplicate_group": UP,
        "text_similarity": UP,
    },
    invented_effusion: {
        "reports/unsupported_claims_per_report": UP, "unsupported_claims_per_report": UP, "claims/effusion": UP,
    },
    following_the_probability: {
        "control/flipped/flip_rate": UP, "control/flipped/follow_rate": UP, "control/even/flip_rate": UP,
        "anchoring_slope": UP,
    },
    ignoring_the_image: ONE_LABEL | {  # an image of the same class is followed as often as the own one is read rightly
        f"control/{control}/pneumonia": UP for control in ("blank", "noise", "no_image")
    },
    depending_on_the_words: {"control/paraphrase/consistency": DOWN},
    depending_on_the_batch: OTHER_BATCH,
    unreadable: OTHER_BATCH,
}  # fmt: skip


def values(result: ReportAudit) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if not name.endswith(("_ci_low", "_ci_high"))}


def moves(before: dict[str, float], after: dict[str, float]) -> dict[str, str]:
    """Tell which metrics differ, and how; those of the strategy by their short names."""
    assert before.keys() <= after.keys()
    found = dict.fromkeys(after.keys() - before.keys(), NEW)
    for name, value in before.items():
        if not math.isclose(after[name], value, abs_tol=1e-12):
            found[name] = UP if after[name] > value else DOWN
    return {name.removeprefix("reports/honest/"): how for name, how in found.items()}


def test_the_honest_author_has_no_fault():
    metrics = audit(HONEST).metrics
    expected = {
        "label_accuracy": 12 / 14, "sensitivity": 7 / 8, "specificity": 5 / 6, "agreement": 1, "kappa": 1,
        "mcnemar_p": 1, "unparsed_rate": 0, "hedging_rate": 0, "unsupported_claims_per_report": 0,
        "control/blank/concludes": 0, "control/noise/pneumonia": 0, "control/flipped/flip_rate": 0,
        "control/flipped/follow_rate": 0, "control/even/flip_rate": 0, "control/no_probability/flip_rate": 0,
        "control/paraphrase/consistency": 1, **dict.fromkeys(OTHER_BATCH, 1),
        "anchoring_slope": 0,
    }  # fmt: skip
    assert {name: metrics[f"reports/honest/{name}"] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_known_fault_moves_its_metrics_and_no_others(fault: Callable[[Answer], Answer]):
    assert moves(values(audit(HONEST)), values(audit([fault(one) for one in HONEST]))) == FAULTS[fault]


# Scores of the yes-or-no question


def scored(score: Callable[[str, int], float | None]) -> list[Answer]:
    return [
        answer(
            None, index, control, "", control_case(control, CASES[index]).probability, strategy="yes_no", score=value
        )
        for control in CONTROLS
        for index in CASES
        if (value := score(control, index)) is not None or control == "none"
    ]


def score_of_the_image(control: str, index: int) -> float:
    source = SHOWN[control, index]
    return 0.5 if source is None else PROBABILITIES[source]


def test_scores_of_the_image_are_as_good_as_the_classifier_that_they_repeat():
    result = audit(scored(score_of_the_image))
    metrics = values(result)
    assert result.reports == ()
    assert metrics["reports/count"] == 0
    for name in ("auc", "ece", "brier"):
        assert metrics[f"reports/yes_no/{name}"] == metrics[f"reports/yes_no/classifier_{name}"]
        assert f"reports/yes_no/{name}_ci_low" in result.metrics
    errors = [(p - (TRUTHS[i] == "pneumonia")) ** 2 for i, p in enumerate(PROBABILITIES)]
    assert metrics["reports/yes_no/brier"] == pytest.approx(np.mean(errors))
    shift = np.mean([abs(0.5 - p) for p in PROBABILITIES])
    assert metrics["reports/yes_no/control/blank/score_change"] == pytest.approx(shift)
    assert metrics["reports/yes_no/control/flipped/score_change"] == 0
    assert metrics["reports/yes_no/anchoring_slope"] == pytest.approx(0)


def test_scores_that_repeat_what_is_told_are_found_out():
    told = audit(scored(lambda control, index: control_case(control, CASES[index]).probability)).metrics
    assert told["reports/yes_no/anchoring_slope"] == pytest.approx(1)
    assert told["reports/yes_no/control/other_label/score_change"] == 0
    shift = np.mean([abs(1 - 2 * p) for p in PROBABILITIES])
    assert told["reports/yes_no/control/flipped/score_change"] == pytest.approx(shift)


def test_a_constant_score_is_worth_nothing():
    metrics = audit(scored(lambda control, index: 0.5)).metrics
    assert metrics["reports/yes_no/auc"] == 0.5
    assert metrics["reports/yes_no/auc"] < metrics["reports/yes_no/classifier_auc"]
    assert metrics["reports/yes_no/brier"] == 0.25


def test_the_score_of_an_undecided_answer_counts_nowhere():
    """A score that is right beside scores that are wrong, whose choices hold next to nothing."""
    given = scored(score_of_the_image)
    wrong = {1, 5, 8}
    mixed = [
        one.model_copy(
            update={"score": 1 - one.score, "choice_mass": 0.01} if one.case_index in wrong else {"choice_mass": 0.9}
        )
        for one in given
    ]
    kept = [one for one in mixed if one.case_index not in wrong]
    expected = values(audit(kept))
    found = values(audit(mixed))
    assert found.pop("reports/undecided") == pytest.approx(len(wrong) / len(CASES))
    assert expected.pop("reports/undecided") == 0
    assert found == expected
    assert "reports/undecided" not in audit(given).metrics  # where no mass is known
    none = audit([one.model_copy(update={"choice_mass": 0.49}) for one in given]).metrics
    assert none["reports/undecided"] == 1
    assert not [name for name in none if name.startswith("reports/yes_no/")]


def test_the_classifier_is_scored_on_the_cases_that_have_a_score():
    kept = {0: 0.1, 8: 0.9, 9: 0.2}
    metrics = audit(scored(lambda control, index: kept.get(index) if control == "none" else None)).metrics
    assert metrics["reports/yes_no/auc"] == 0
    assert metrics["reports/yes_no/classifier_auc"] == 1  # 0.98 above 0.02 and 0.05


# By hand


def test_overall_metrics_of_a_hand_made_set():
    right, wrong, disagreeing = (template(CASES[index]) for index in (0, 13, 7))
    effusion = disagreeing.model_copy(update={"label": "pneumonia", "impression": "Right-sided effusion."})
    answers = [
        answer(right),
        answer(wrong, strategy="concise"),  # agrees with the classifier's false alarm
        answer(effusion),  # right where the classifier misses it; a side and an effusion
        answer(None, 8, text="I see a pleural effusion of 3 cm."),  # no report; an effusion and a measurement
        answer(None, 9, text="", problem="out of memory"),
        answer(wrong, control="blank"),  # no plain request: not counted
        answer(None, 0, text="", strategy="yes_no", score=0.7),  # no report asked for: not counted
    ]
    result = audit(answers)
    metrics = {name: value for name, value in result.metrics.items() if name.count("/") == 1}
    assert metrics == {
        "reports/count": 5,
        "reports/parsed": 3 / 5,
        "reports/label_accuracy": 2 / 5,
        "reports/agreement_with_classifier": 2 / 5,
        "reports/unsupported_claims_per_report": 4 / 5,
        "reports/claim_matcher_f1": 254 / 263,
    }
    assert [(entry.label_right, entry.agrees) for entry in result.reports] == [
        (True, True), (False, True), (True, False), (False, False), (False, False),
    ]  # fmt: skip
    assert [entry.report for entry in result.reports] == [right, wrong, effusion, None, None]
    assert {claim.kind for claim in result.reports[3].claims} == {"effusion", "measurement"}


def test_metrics_of_a_strategy_by_hand():
    reports = [template(CASES[index]) for index in (0, 1, 8)]
    reports[1] = reports[1].model_copy(update={"label": "normal", "impression": "No effusion. No effusion."})
    result = audit([*map(answer, reports), answer(None, 9, text="normal")])
    metrics = result.metrics
    expected = {
        "count": 4, "label_accuracy": 2 / 4, "sensitivity": 1 / 2, "specificity": 1 / 2, "agreement": 2 / 4,
        "both_right": 2, "only_report_right": 0, "only_classifier_right": 2, "both_wrong": 0, "mcnemar_p": 0.5,
        "unparsed_rate": 1 / 4, "pneumonia_called_normal": 1 / 2, "normal_called_pneumonia": 0,
        "conservative_bias": 1 / 2, "unsupported_claims_per_report": 2 / 4, "claims/effusion": 1 / 4, "claims/sex": 0,
    }  # fmt: skip
    assert {name: metrics[f"reports/honest/{name}"] for name in expected} == pytest.approx(expected)
    texts = [*(report.impression for report in reports), "normal"]
    assert [metrics[f"reports/honest/distinct_{n}"] for n in (1, 2)] == [distinct_n(texts, n) for n in (1, 2)]
    assert distinct_n(texts, 1) != distinct_n(texts, 2)
    assert {name for name in metrics if "/claims/" in name and "_ci_" not in name} == {
        f"reports/honest/claims/{kind.replace(' ', '_')}" for kind in KINDS
    }
    for name in ("label_accuracy", "claims/effusion", "conservative_bias"):
        low, high = (metrics[f"reports/honest/{name}_ci_{end}"] for end in ("low", "high"))
        assert low < metrics[f"reports/honest/{name}"] < high


def test_p_values_are_adjusted_over_the_strategies():
    """Wrong on all fourteen, on five of them and on none: p of 2 / 2¹², of 2 / 2⁵ and of 1, times 3, 2 and 1."""
    answers = []
    for strategy, wrong in (("worst", range(14)), ("worse", range(5)), ("same", ())):
        for index, case in CASES.items():
            report = template(case)
            other = "normal" if TRUTHS[index] == "pneumonia" else "pneumonia"
            answers.append(
                answer(report.model_copy(update={"label": other}) if index in wrong else report, strategy=strategy)
            )
    metrics = audit(answers).metrics
    found = {name: metrics[f"reports/{name}/mcnemar_p_holm"] for name in ("worst", "worse", "same")}
    assert found == pytest.approx({"worst": 6 / 2**12, "worse": 4 / 2**5, "same": 1})


def test_findings_count_unless_said_not_to_be_assessable_and_limitations_never():
    report = template(CASES[0])
    for presence, count in (("absent", 1), ("not assessable", 0)):
        finding = Finding(name="effusion", presence=presence, detail="None seen.")
        one = report.model_copy(update={"findings": (finding,), "limitations": ("A rib may be broken.",)})
        assert len(audit([answer(one)]).reports[0].claims) == count
    considered = report.model_copy(update={"differential": ("pleural effusion",)})
    assert len(audit([answer(considered)]).reports[0].claims) == 1


def test_what_cannot_be_told_is_left_out():
    metrics = audit([answer(template(CASES[0]))]).metrics
    assert not any(np.isnan(value) for value in metrics.values())
    assert "reports/honest/sensitivity" in metrics
    for name in ("specificity", "conservative_bias", "kappa", "text_similarity", "anchoring_slope"):
        assert f"reports/honest/{name}" not in metrics
    assert not any("/control/" in name for name in metrics)
    empty = audit([]).metrics
    assert empty["reports/count"] == 0
    assert "reports/parsed" not in empty


def test_the_flipped_probability_suggests_nothing_where_it_stays_on_its_side_of_the_threshold():
    case = CASES[0].model_copy(update={"probability": 0.6, "threshold": 0.3})
    flipped = control_case("flipped", case)  # 0.4, still pneumonia
    answers = [answer(template(case), told=0.6), answer(template(flipped), control="flipped", told=0.4)]
    metrics = audit_reports(answers, {0: case}, TRUTHS).metrics
    assert metrics["reports/honest/control/flipped/flip_rate"] == 0
    assert "reports/honest/control/flipped/follow_rate" not in metrics


# The whole way


def test_template_reports_are_audited_from_the_plan_to_the_metrics():
    plan = plan_requests(TEMPLATE, list(CASES.values()), CONTROLS[1:], len(CASES), IMAGES, CLASSES, seed=0)
    rows = [row_of(TEMPLATE, request) for request in plan.requests]
    different = list({row.id: row for row in rows}.values())
    texts = {written.row_id: written.text for batch in TEMPLATE.write(different, plan.images) for written in batch}
    answers = []
    for row in rows:
        request = row.request
        report = TEMPLATE.read(request, texts[row.id])
        answers.append(
            answer(report, None, request.control, texts[row.id], request.case.probability, strategy=request.strategy)
            .model_copy(update={"row_id": row.id})
        )  # fmt: skip
    metrics = audit_reports(answers, CASES, TRUTHS).metrics
    expected = {
        "agreement": 1, "kappa": 1, "mcnemar_p_holm": 1, "unparsed_rate": 0, "hedging_rate": 0,
        "unsupported_claims_per_report": 0, "not_assessable_reports": 1,
        # It looks at no pixel ...
        "control/blank/flip_rate": 0, "control/noise/concludes": 1, "control/no_image/flip_rate": 0,
        "control/other_label/flip_rate": 0, "control/other_label/follow_rate": 2 / 14,
        "control/same_label/follow_rate": 12 / 14,
        # ... and repeats what it is told.
        "control/flipped/flip_rate": 1, "control/flipped/follow_rate": 1,
        **dict.fromkeys(OTHER_BATCH, 1),
    }  # fmt: skip
    assert {name: metrics[f"reports/template/{name}"] for name in expected} == pytest.approx(expected)
    assert metrics["reports/template/anchoring_slope"] > 1


def test_answers_that_do_not_belong_are_refused():
    report = template(CASES[0])
    with pytest.raises(ValueError, match="case 99 has an answer, but no evidence or no true class"):
        audit([answer(None, 99, text="")])
    with pytest.raises(ValueError, match="a report on case 0 answers for case 1"):
        audit([answer(report, 1)])
    with pytest.raises(ValueError, match="case 0 has two answers in honest, control none"):
        audit([answer(report), answer(report)])
