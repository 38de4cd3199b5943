import io

import numpy as np
from PIL import Image

from models.report_generation.controls import control_case
from models.report_generation.schema import Answer, Case, Usage
from models.report_generation.template import TemplateGenerator
from tasks.reports.audit.gallery import audit_gallery
from tasks.reports.audit.metrics import audit_reports
from tests.support.figures import PHANTOMS, RANDOM_WEIGHTS, REAL

CASES = [
    Case(index=i, image_sha256="", probability=p, threshold=0.5, heat_region="no focus", heat_share=0)
    for i, p in enumerate((0.9, 0.2, 0.7, 0.4))
]
TRUTHS = {0: "pneumonia", 1: "normal", 2: "normal", 3: "pneumonia"}
USAGE = Usage(prompt_tokens=300, generated_tokens=50, finish_reason="stop", seconds=2, batch_size=2, peak_gib=None)


def _answer(case: Case, control: str = "none") -> Answer:
    told = control_case(control, case)
    generator = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False)
    (report,) = generator.generate([told], np.zeros((1, 28, 28), np.uint8))
    return Answer(
        row_id=f"{case.index} {control}", case_index=case.index, strategy="template", control=control,
        shown_probability=told.probability, prompt="", text=report.model_dump_json(), report=report, usage=USAGE,
    )  # fmt: skip


def _question(case: Case) -> Answer:
    return Answer(
        row_id=f"{case.index} q", case_index=case.index, strategy="yes_no", control="none", shown_probability=None,
        prompt="", text="Yes", score=0.25 * (case.index + 1),
    )  # fmt: skip


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _gallery(answers, claims=None, source=REAL):
    cases = {case.index: case for case in CASES}
    metrics = audit_reports(answers, cases, TRUTHS).metrics
    return audit_gallery(answers, cases, TRUTHS, metrics, claims or {}, source=source)


def test_everything_that_is_known_is_drawn_with_a_watermark_where_it_shows_nothing_real():
    answers = [
        _answer(case, control) for case in CASES for control in ("none", "flipped", "even", "blank", "companions")
    ]
    answers += map(_question, CASES)
    plain, phantoms, random = (
        _gallery(answers),
        _gallery(answers, source=PHANTOMS),
        _gallery(answers, source=RANDOM_WEIGHTS),
    )
    assert set(plain) == {
        "label_scores", "agreement", "reticence", "claims", "controls", "stability", "anchoring", "collapse",
        "yes_no_score", "usage",
    }  # fmt: skip
    for name in plain:
        one, other, third = (_pixels(drawn[name]) for drawn in (plain, phantoms, random))
        assert one.shape[1] > 300
        for marked in (other, third):
            assert marked.shape == one.shape
            assert (one != marked).any(axis=2).mean() > 0.005
        assert (other != third).any()


def test_what_was_not_asked_is_not_drawn():
    drawn = _gallery([_answer(case).model_copy(update={"usage": None}) for case in CASES])
    assert not set(drawn) & {"controls", "stability", "anchoring", "yes_no_score", "usage"}


def test_claims_are_drawn_for_the_report_that_makes_them():
    answers = [_answer(case) for case in CASES]
    without, with_claim = _gallery(answers), _gallery(answers, {"0 none": [["effusion", "effusion", "affirmed"]]})
    assert without["claims"] != with_claim["claims"]
    assert without["label_scores"] == with_claim["label_scores"]
