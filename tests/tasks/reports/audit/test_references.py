import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from models.report_generation.schema import Answer, Case, Finding
from models.report_generation.template import TemplateGenerator
from tasks.reports.audit.metrics import audit_reports
from tasks.reports.audit.reference_file import Reference
from tasks.reports.audit.references import asserted, compare_with_references, report_words
from tasks.reports.audit.table import COLUMNS, answers_table
from tasks.shared.bootstrap import resample

SAID = (
    "Opacity in the lower half. No pleural effusion. The heart size is normal.",
    "Clear lungs without consolidation or effusion.",
    "Right lower lobe pneumonia with a small effusion.",
    "",
    "Possible opacity. Heart enlarged.",
    "A tube is seen. No opacity.",
)
MEANT = (
    "There is an opacity in the right lower lobe. No effusion. Normal heart size.",
    "Normal chest: the lungs are clear, there is no consolidation and no pleural effusion.",
    "Consolidation of the right lower lobe. Effusion cannot be excluded.",
    "Lungs clear.",
    "No opacity. The heart is enlarged.",
    "Endotracheal tube in place; opacity of the left lung.",
)
CASES = {
    index: Case(index=index, image_sha256=f"{index:064x}", probability=0.8, threshold=0.5, heat_region="", heat_share=0)
    for index in range(len(SAID) + 2)
}
REFERENCES = [Reference(case=index, image_sha256=None, text=text) for index, text in enumerate(MEANT)]


def answer(index: int, text: str, strategy: str = "concise", control: str = "none") -> Answer:
    return Answer(
        row_id=f"{strategy} {control} {index}", case_index=index, strategy=strategy, control=control,
        shown_probability=0.8, prompt="", text=text,
    )  # fmt: skip


ANSWERS = [
    *(answer(index, text) for index, text in enumerate(SAID)),
    answer(6, "There is no reference for this one."),
    *(answer(index, text, "differential") for index, text in enumerate(MEANT)),
    answer(0, "changed", control="blank"),
    answer(0, "Yes", "yes_no"),
]


def test_the_scores_are_sacrebleus_own_and_so_are_those_of_every_bootstrap_sample():
    found = compare_with_references(ANSWERS, CASES, REFERENCES)
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        estimate = found.metrics[f"concise/{name}"]
        assert estimate.value == pytest.approx(metric.corpus_score(SAID, [MEANT]).score / 100, abs=1e-12)
        drawn = [
            metric.corpus_score([SAID[i] for i in rows], [[MEANT[i] for i in rows]]).score / 100
            for rows in resample(len(SAID), 1000, 0)
        ]
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-12)
        assert found.signatures[name] == str(metric.get_signature())
        assert found.metrics[f"differential/{name}"].value == pytest.approx(1)
    assert found.metrics["cases"] == len(MEANT)
    assert not [name for name in found.metrics if name.startswith("yes_no")]
    for index, text in enumerate(SAID):
        assert found.chrf[f"concise none {index}"] == min(1, CHRF().sentence_score(text, [MEANT[index]]).score / 100)
    assert "concise blank 0" not in found.chrf
    assert "concise none 6" not in found.chrf


@pytest.mark.parametrize("status", ["affirmed", "denied"])
def test_the_claims_in_common_are_counted_as_a_loop_counts_them(status):
    ours_by_case, theirs_by_case = ([asserted(text)[status] for text in texts] for texts in (SAID, MEANT))

    def scores(rows):
        common = said = meant = 0
        for row in rows:
            ours, theirs = ours_by_case[row], theirs_by_case[row]
            common += len([kind for kind in ours if kind in theirs])
            said += len(ours)
            meant += len(theirs)
        precision, recall = common / said if said else np.nan, common / meant if meant else np.nan
        return precision, recall, 2 * common / (said + meant) if said + meant else np.nan

    found = compare_with_references(ANSWERS, CASES, REFERENCES).metrics
    drawn = np.array([scores(rows) for rows in resample(len(SAID), 1000, 0)])
    whole = scores(range(len(SAID)))
    for column, name in enumerate(("precision", "recall", "f1")):
        estimate = found[f"concise/{status}_{name}"]
        assert estimate.value == pytest.approx(whole[column])
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.nanpercentile(drawn[:, column], [2.5, 97.5])))
    assert 0 < whole[2] < 1


def test_what_texts_affirm_and_deny_is_read_by_hand():
    assert asserted(MEANT[0]) == {"affirmed": {"opacity", "side", "lobe"}, "denied": {"effusion", "heart size"}}
    assert asserted(SAID[1]) == {"affirmed": set(), "denied": {"opacity", "effusion"}}
    assert asserted(MEANT[2]) == {"affirmed": {"opacity", "side", "lobe"}, "denied": set()}  # a hedge is neither
    assert asserted("") == {"affirmed": set(), "denied": set()}


def test_a_report_is_compared_by_its_findings_and_its_impression():
    (report,) = TemplateGenerator("d", "f" * 64, phantoms=False).generate([CASES[0]], np.zeros((1, 28, 28), np.uint8))
    findings = (
        Finding(name="Pleural effusion", presence="absent", detail=""),
        Finding(name="Opacity", presence="present", detail="Lower half."),
    )
    report = report.model_copy(update={"findings": findings, "impression": "Pneumonia."})
    words = report_words(answer(0, "{json}").model_copy(update={"report": report}))
    assert words == "Pleural effusion: absent.\nOpacity: present. Lower half.\nPneumonia."
    assert asserted(words) == {"affirmed": {"opacity"}, "denied": {"effusion"}}


def test_a_digest_names_every_case_with_that_image():
    twins = {0: CASES[0], 3: CASES[3].model_copy(update={"image_sha256": CASES[0].image_sha256}), 4: CASES[4]}
    named = [Reference(case=None, image_sha256=CASES[0].image_sha256, text="Clear.")]
    assert compare_with_references([], twins, named).texts == {0: "Clear.", 3: "Clear."}


def test_the_audit_holds_them_under_their_names_and_the_table_beside_the_answers():
    truths = dict.fromkeys(CASES, "pneumonia")
    without, audit = audit_reports(ANSWERS, CASES, truths), audit_reports(ANSWERS, CASES, truths, REFERENCES)
    added = set(audit.metrics) - set(without.metrics)
    assert {name for name in added if not name.startswith("reports/references/")} == set()
    assert {"reports/references/cases", "reports/references/concise/bleu", "reports/references/concise/bleu_ci_low",
            "reports/references/differential/denied_f1_ci_high"} <= added  # fmt: skip
    assert all(0 <= audit.metrics[name] <= 1 for name in added if not name.endswith("/cases"))
    groups = dict.fromkeys(CASES, "")
    table = answers_table(ANSWERS, audit.reports, CASES, groups, truths, audit.references)
    assert table["columns"] == [*COLUMNS, "reference", "chrF"]
    assert table["data"][0][-2] == MEANT[0]
    assert table["data"][6][-2:] == [None, None]
    assert answers_table(ANSWERS, audit.reports, CASES, groups, truths)["columns"] == list(COLUMNS)


def test_references_of_other_cases_give_no_score():
    found = compare_with_references(ANSWERS, CASES, [Reference(case=600, image_sha256=None, text="Clear.")])
    assert found.metrics == {"cases": 0}
    assert found.signatures == {}
