import numpy as np

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from models.report_generation.schema import Case, NeighbourEvidence
from models.report_generation.template import TemplateGenerator
from tasks.reports.audit import audit_reports
from tasks.reports.summary import reports_summary

NEIGHBOURS = tuple(
    NeighbourEvidence(index=i, label=label, similarity=0.9, split="train")
    for i, label in enumerate(["pneumonia", "normal", "pneumonia"])
)
CASES = [
    Case(
        index=index,
        image_sha256="",
        probability=probability,
        threshold=0.5,
        heat_region="centre of the image",
        heat_share=0.5,
        neighbours=NEIGHBOURS,
    )
    for index, probability in ((11, 0.934), (42, 0.2))
]
REPORTS = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False).generate(CASES, np.zeros((2, 28, 28), np.uint8))


def summarise(answers: list, *, phantoms: bool = False) -> str:
    truths = ["pneumonia", "pneumonia"]
    groups = ["right pneumonia", "missed pneumonia"]
    result = audit_reports(answers, CASES, truths)
    return reports_summary(CASES, groups, truths, result, generator="template", phantoms=phantoms)


def test_summary_holds_every_case_in_table_and_full_text():
    text = summarise(list(REPORTS))
    assert RESEARCH_NOTICE in text
    assert PHANTOM_NOTICE not in text
    assert "No language model wrote any of them." in text
    assert "| reports/count | 2 |" in text
    assert "| reports/label_accuracy | 0.500 |" in text
    assert "| 11 | right pneumonia | pneumonia | 0.934 | pneumonia | yes | yes | 2 of 3 pneumonia | 0 |" in text
    assert "| 42 | missed pneumonia | pneumonia | 0.200 | normal | no | yes | 2 of 3 pneumonia | 0 |" in text
    for report in REPORTS:
        assert report.as_markdown() in text
    assert "None found." in text


def test_summary_shows_claims_and_answers_that_are_no_report():
    text = summarise([REPORTS[0], "A small | effusion."])
    assert "| 42 | effusion | effusion |" in text
    assert "| 42 | missed pneumonia | pneumonia | 0.200 | does not fit | no | no | 2 of 3 pneumonia | 1 |" in text
    assert "### Case 42\n\nNo report: what was written does not fit the schema." in text


def test_summary_names_the_language_model():
    source = REPORTS[0].provenance.model_copy(update={"language_model": True, "model": "some/model"})
    text = summarise([report.model_copy(update={"provenance": source}) for report in REPORTS])
    assert "with the language model some/model" in text
    assert "No language model wrote any" not in text
    assert "none of its answers fits the schema" in summarise([None, None])


def test_summary_of_phantoms_says_so():
    assert PHANTOM_NOTICE in summarise(list(REPORTS), phantoms=True)
