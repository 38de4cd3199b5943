import numpy as np
import pytest

from models.report_generation.generator import Row, Written, row_of
from models.report_generation.schema import Request
from models.report_generation.template import TemplateGenerator
from models.report_generation.unreadable import UnreadableReport
from tasks.reports.reading import read_answers
from tests.tasks.reports.pair_generator import PairGenerator, case

TEMPLATE = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False)
IMAGES = np.zeros((1, 28, 28), np.uint8)


def _rows(generator, *strategies: str) -> list[Row]:
    requests = [Request(case=case(3), image=0, image_sha256="", strategy=strategy) for strategy in strategies]
    return [row_of(generator, request) for request in requests]


def test_a_text_becomes_the_report_that_was_written():
    (row,) = _rows(TEMPLATE, "template")
    ((written,),) = TEMPLATE.write([row], IMAGES)
    (answer,) = read_answers(TEMPLATE, [row], [written])
    assert answer.report == TEMPLATE.read(row.request, written.text)
    assert (answer.case_index, answer.shown_probability, answer.problem) == (3, case(3).probability, None)


def test_a_probability_counts_as_told_where_the_prompt_holds_it():
    generator = PairGenerator()
    rows = _rows(generator, "plain", "informed")
    answers = read_answers(generator, rows, [Written(row_id=row.id, error="ValueError: poison") for row in rows])
    assert [answer.shown_probability for answer in answers] == [None, case(3).probability]
    assert [answer.problem for answer in answers] == ["ValueError: poison"] * 2


def test_what_cannot_be_read_is_kept_with_the_reason_and_a_score_asks_for_no_report():
    class Mute(PairGenerator):
        def read(self, request, text):
            raise UnreadableReport("There are no words in it.")

    rows = _rows(Mute(), "plain")
    (unread,) = read_answers(Mute(), rows, [Written(row_id=rows[0].id, text="…")])
    assert (unread.report, unread.problem, unread.text) == (None, "There are no words in it.", "…")
    (scored,) = read_answers(Mute(), rows, [Written(row_id=rows[0].id, text="Yes", score=0.75, choice_mass=0.5)])
    assert (scored.report, scored.problem, scored.score, scored.choice_mass) == (None, None, 0.75, 0.5)
    assert (scored.undecided, scored.decided_score) == (False, 0.75)
    (unsure,) = read_answers(Mute(), rows, [Written(row_id=rows[0].id, text="Yes", score=0.75, choice_mass=0.49)])
    assert (unsure.undecided, unsure.decided_score, unsure.score) == (True, None, 0.75)


def test_a_report_concludes_on_one_of_the_classes_or_on_none():
    (row,) = _rows(TEMPLATE, "template")
    ((written,),) = TEMPLATE.write([row], IMAGES)
    strange = written.text.replace('"label":"normal"', '"label":"covid"')
    assert strange != written.text
    (answer,) = read_answers(TEMPLATE, [row], [written.model_copy(update={"text": strange})])
    assert (answer.report, answer.problem) == (None, "It concludes on 'covid', which is none of the classes.")


@pytest.mark.parametrize("came", [[], ["a", "a"], ["b"]])
def test_rows_that_are_lost_doubled_or_made_up_are_an_error(came):
    row = Row(id="a", request=_rows(TEMPLATE, "template")[0].request)
    with pytest.raises(RuntimeError, match=f"1 rows went in, and {len(came)} came out"):
        read_answers(TEMPLATE, [row], [Written(row_id=row_id, text="t") for row_id in came])
