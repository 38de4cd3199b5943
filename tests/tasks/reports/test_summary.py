import numpy as np
import pytest

from models.markdown import escape
from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.schema import Answer, Case, NeighbourEvidence, Usage
from models.report_generation.template import TemplateGenerator
from tasks.records.reports import GeneratorRecord
from tasks.reports.audit.metrics import audit_reports
from tasks.reports.audit.reference_file import Reference
from tasks.reports.summary import LISTED, SHOWN_IN_FULL, reports_summary

TEMPLATE = GeneratorRecord(name="template")
MODEL = GeneratorRecord(name="medgemma", model="some/model", revision="abc", precision="nf4", device="cuda")
NEIGHBOUR = NeighbourEvidence(index=7, label="pneumonia", similarity=0.9, split="train")


def make_case(index: int, probability: float) -> Case:
    heat = {"heat_region": "centre of the image", "heat_share": 0.5}
    return Case(index=index, image_sha256="", probability=probability, threshold=0.5, neighbours=(NEIGHBOUR,), **heat)


CASES = [make_case(11, 0.934), make_case(42, 0.2)]


def make_answers(cases: list[Case]) -> list[Answer]:
    reports = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False).generate(
        cases, np.zeros((len(cases), 28, 28), np.uint8)
    )
    return [
        Answer(
            row_id=f"row {report.case_index}", case_index=report.case_index, strategy="template", control="none",
            shown_probability=case.probability, prompt="", text=report.model_dump_json(), report=report,
        )
        for case, report in zip(cases, reports, strict=True)
    ]  # fmt: skip


def summarise(answers: list[Answer], cases=CASES, generator=TEMPLATE, *, phantoms: bool = False, references=()) -> str:
    truths = {case.index: "pneumonia" for case in cases}
    result = audit_reports(answers, {case.index: case for case in cases}, truths, references)
    signatures = result.references.signatures if result.references else {}
    claims = {e.answer.row_id: [[c.kind, c.words, c.status] for c in e.claims] for e in result.reports}
    groups = ["pneumonia, called correctly" if case.probability > 0.5 else "missed pneumonia" for case in cases]
    return reports_summary(
        cases, groups, list(truths.values()), answers, result.metrics, claims, generator,
        phantoms=phantoms, signatures=signatures,
    )  # fmt: skip


def test_summary_holds_every_case_in_table_and_full_text():
    answers = make_answers(CASES)
    text = summarise(answers)
    assert RESEARCH_NOTICE in text
    assert PHANTOM_NOTICE not in text
    assert "No language model wrote any of them." in text
    assert "| reports/count | 2 |" in text
    assert "| reports/label_accuracy | 0.500 |" in text
    assert "| 11 | pneumonia, called correctly | pneumonia | 0.934 | pneumonia |" in text
    assert "| 42 | missed pneumonia | pneumonia | 0.200 | normal |" in text
    assert "| label accuracy | 0.500 (" in text
    assert answers[0].report.as_markdown(said=answers[0].report.limitations) in text
    assert "None found." in text


def test_each_limitation_is_said_once_however_many_reports_name_it():
    cases = [make_case(index, 0.9) for index in range(24)]
    answers = make_answers(cases)
    text = summarise(answers, cases)
    for limitation in answers[0].report.limitations:
        assert text.count(str(escape(limitation))) == 1, limitation
    own = answers[0].report.model_copy(update={"limitations": ("Said of one image only.",)})
    text = summarise([answers[0].model_copy(update={"report": own}), *answers[1:]], cases)
    assert text.count("Said of one image only.") == 1


def test_long_lists_are_cut_and_say_where_all_stand():
    cases = [make_case(index, 0.9) for index in range(LISTED + 3)]
    text = summarise(make_answers(cases), cases)
    assert text.count("| pneumonia, called correctly |") == LISTED
    assert f"The first {LISTED} of {len(cases)} cases; all stand on [the pages of the cases](cases/index.html)" in text


def test_summary_shows_claims_and_answers_that_are_no_report():
    first, second = make_answers(CASES)
    spoilt = second.model_copy(update={"report": None, "problem": "It is cut off.", "text": "A small | effusion.\nCut"})
    text = summarise([spoilt, first], CASES[::-1])
    assert "| 42 | template | effusion | effusion | affirmed |" in text
    assert "| 42 | missed pneumonia | pneumonia | 0.200 | no report |" in text
    assert "### Case 42, template\n\nNo report: It is cut off.\n\n> A small \\| effusion.\n> Cut\n" in text


def test_summary_puts_strategies_side_by_side():
    first, second = make_answers(CASES)
    others = [answer.model_copy(update={"strategy": "concise"}) for answer in (first, second)]
    undecided = others[1].report.model_copy(update={"label": None})
    text = summarise([first, second, others[0], others[1].model_copy(update={"report": undecided})])
    assert "| case | group | truth | classifier p | template | concise |" in text
    assert "| 42 | missed pneumonia | pneumonia | 0.200 | normal | no label |" in text


@pytest.mark.parametrize("random_weights", [True, False])
def test_summary_names_the_language_model_and_what_it_took(random_weights):
    usage = Usage(
        prompt_tokens=300, generated_tokens=50, finish_reason="length", seconds=2.0, batch_size=2, peak_gib=None
    )
    answers = [answer.model_copy(update={"usage": usage}) for answer in make_answers(CASES)]
    text = summarise(answers, generator=MODEL.model_copy(update={"random_weights": random_weights}))
    assert "some/model, revision abc, in nf4 on cuda" in text
    assert "2 plain answers took 100 tokens and 4.0 s; 2 were cut" in text
    assert "No language model wrote any" not in text
    assert (RANDOM_WEIGHTS_NOTICE in text) == random_weights


def test_summary_shows_the_yes_or_no_question_beside_the_classifier():
    scored = [
        Answer(
            row_id=f"q{case.index}", case_index=case.index, strategy="yes_no", control="none", shown_probability=None,
            prompt="", text="Yes", score=0.75,
        )
        for case in CASES
    ]  # fmt: skip
    text = summarise([*make_answers(CASES), *scored])
    assert "| Brier score | 0.062" in text  # (1 - .75)², both cases being pneumonia
    assert "## The yes-or-no question" in text
    assert "## The yes-or-no question" not in summarise(make_answers(CASES))


def test_summary_says_how_many_answers_are_undecided_and_leaves_them_out():
    made = [
        Answer(
            row_id=f"q{case.index}", case_index=case.index, strategy="yes_no", control="none", shown_probability=None,
            prompt="", text="Yes", score=score, choice_mass=mass,
        )
        for case, score, mass in zip(CASES, (0.75, 0.1), (0.9, 0.2), strict=True)
    ]  # fmt: skip
    text = summarise([*make_answers(CASES), *made])
    assert "| Brier score | 0.062" in text
    assert "50% of the answers are undecided and left out: Yes and No hold less than 0.5 of the probability" in text
    none = summarise([*make_answers(CASES), *(one.model_copy(update={"choice_mass": 0.2}) for one in made)])
    assert "100% of the answers are undecided" in none
    assert "Brier score" not in none


def test_summary_says_how_the_model_was_asked_and_how_it_computed():
    usage = Usage(
        prompt_tokens=300, generated_tokens=50, finish_reason="stop", seconds=2.0, batch_size=2, peak_gib=None,
        attention="eager",
    )  # fmt: skip
    answers = [answer.model_copy(update={"usage": usage}) for answer in make_answers(CASES)]
    told = {"conventions": "1.5", "image_first": False, "thinking_tokens": 300}
    text = summarise(answers, generator=MODEL.model_copy(update=told))
    assert "image last, conventions of MedGemma 1.5, at most 300 tokens of thought." in text
    assert "Attention was computed by: eager." in text
    assert "no thought. " in summarise(answers, generator=MODEL)


def test_only_the_first_cases_stand_there_in_full():
    cases = [make_case(index, 0.9) for index in range(SHOWN_IN_FULL + 3)]
    text = summarise(make_answers(cases), cases)
    assert text.count("### Case ") == SHOWN_IN_FULL
    assert f"| {SHOWN_IN_FULL + 2} | pneumonia, called correctly |" in text


def test_summary_of_phantoms_says_so():
    assert PHANTOM_NOTICE in summarise(make_answers(CASES), phantoms=True)


def test_a_question_that_failed_is_not_taken_for_a_report():
    failed = Answer(
        row_id="q", case_index=11, strategy="yes_no", control="none", shown_probability=None, prompt="", text="",
        problem="RuntimeError: poison",
    )  # fmt: skip
    text = summarise([*make_answers(CASES), failed])
    assert "| case | group | truth | classifier p | template |\n" in text
    assert "| reports/count | 2 |" in text


def test_references_have_a_section_of_their_own_which_says_what_it_does_not():
    answers = make_answers(CASES)
    assert "Against reference reports" not in summarise(answers)
    references = [Reference(case=11, image_sha256=None, text="Opacity in the centre. Pneumonia.")]
    text = summarise(answers, references=references)
    section = text[text.index("## Against reference reports") : text.index("## Cases")]
    assert "1 of these cases have a reference report." in section
    assert "|  | template |" in section
    assert "| BLEU | 0." in section
    assert "| affirmed: recall | 1.000 (1.00 – 1.00) |" in section
    assert "it is not RadGraph" in section
    assert "`nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in section
    others = [Reference(case=99, image_sha256=None, text="Clear.")]
    assert "None of the references is on one of these cases" in summarise(answers, references=others)
