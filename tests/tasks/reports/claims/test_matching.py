import random
import time
from typing import get_args

import pytest

from models.report_generation.assertion import Status
from tasks.reports.claims.lexicon import KINDS
from tasks.reports.claims.matching import find_claims, unsupported_claims

A, D, H, N = "affirmed", "denied", "hedged", "not assessable"

SENTENCES: dict[str, dict[str, str]] = {
    # Said to be there
    "Opacity in the right lower lobe.": {"side": A, "lobe": A},
    "Left-sided consolidation.": {"side": A},
    "Haziness on the right.": {"side": A},
    "Bilateral infiltrates.": {"side": A},
    "RLL pneumonia.": {"side": A, "lobe": A},
    "Multilobar consolidation.": {"lobe": A},
    "There is a small pleural effusion.": {"effusion": A},
    "Blunting of a costophrenic angle.": {"effusion": A},
    "Mild cardiomegaly.": {"heart size": A},
    "The cardiothoracic ratio is increased.": {"heart size": A},
    "A healing rib fracture is present.": {"bones": A},
    "An endotracheal tube is in place.": {"device": A},
    "A nodule of 12 mm.": {"measurement": A},
    "It measures 1.2 x 3.5cm.": {"measurement": A},
    "Compared with the prior study there is more haze.": {"comparison": A},
    "The opacity has worsened.": {"comparison": A},
    "There is a new consolidation.": {"comparison": A},
    "A 4-year-old with cough.": {"age": A},
    "Chest of an adult.": {"age": A},
    "She has pneumonia.": {"sex": A},
    "Central line in good position.": {"device": A},
    "The heart is not normal.": {"heart size": A},
    "There is no doubt about the effusion.": {"effusion": A},
    "The opacity in the right lower lobe is not sharply defined.": {"side": A, "lobe": A},
    "The right lung is clear.": {"side": A},
    "Both costophrenic angles are sharp.": {"side": A, "effusion": D},
    "The chest is not free of effusion.": {"effusion": A},
    "Bibasal opacities are denser than before.": {"side": A, "comparison": A},
    # Said to be absent or normal
    "The picture does not show rib fractures.": {"bones": D},
    "The middle lobe is spared.": {"lobe": D},
    "The drain has been removed.": {"device": D},
    "Ribs without fracture.": {"bones": D},
    "No pleural effusion.": {"effusion": D},
    "No effusion, pneumothorax or rib fracture is seen.": {"effusion": D, "bones": D},
    "There is no evidence of effusion, cardiomegaly, or fracture.": {"effusion": D, "heart size": D, "bones": D},
    "Without rib fracture.": {"bones": D},
    "Heart size is normal.": {"heart size": D},
    "Heart size normal, bones intact, no tubes or lines.": {"heart size": D, "bones": D, "device": D},
    "Normal cardiac silhouette.": {"heart size": D},
    "The cardiomediastinal silhouette is within normal limits.": {"heart size": D},
    "The heart is not enlarged.": {"heart size": D},
    "The heart isn't enlarged and the ribs show no fracture.": {"heart size": D, "bones": D},
    "Osseous structures are grossly unremarkable.": {"bones": D},
    "The costophrenic angles are sharp.": {"effusion": D},
    "A pleural effusion has been ruled out.": {"effusion": D},
    "The lungs are free of effusion.": {"effusion": D},
    "Effusion is absent.": {"effusion": D},
    "Effusion: none": {"effusion": D},
    "Effusion (absent)": {"effusion": D},
    "Absence of effusion and fracture.": {"effusion": D, "bones": D},
    "Neither effusion nor fracture.": {"effusion": D, "bones": D},
    "The findings do not suggest an effusion.": {"effusion": D},
    "Nothing to suggest cardiomegaly.": {"heart size": D},
    "An effusion is not seen.": {"effusion": D},
    "No interval change.": {"comparison": A},
    "No new consolidation.": {"comparison": A},
    # Said to be possible
    "A pleural effusion cannot be excluded.": {"effusion": H},
    "We cannot exclude an effusion.": {"effusion": H},
    "Possible cardiomegaly.": {"heart size": H},
    "The findings may represent a lobar process.": {"lobe": H},
    "An effusion may be present.": {"effusion": H},
    "This suggests an effusion.": {"effusion": H},
    "Questionable rib fracture.": {"bones": H},
    "Effusion versus thickening.": {"effusion": H},
    "Is there an effusion?": {"effusion": H},
    "Probably no effusion.": {"effusion": H},
    "An effusion is unlikely.": {"effusion": H},
    "Likely left lower lobe pneumonia.": {"side": H, "lobe": H},
    "Effusion: possible": {"effusion": H},
    "A lobar pneumonia is favoured.": {"lobe": H},
    "Please exclude a fracture.": {"bones": H},
    # Said to be beyond judgement
    "Heart: n.a.": {"heart size": N},
    "One would need a lateral view to assess the effusion.": {"effusion": N},
    "At this size, a small effusion would be missed.": {"effusion": N},
    "Which lobe is involved cannot be answered.": {"lobe": N},
    "Heart size cannot be assessed.": {"heart size": N},
    "Heart size is not assessable.": {"heart size": N},
    "Not assessable: heart size, bones, devices.": {"heart size": N, "bones": N, "device": N},
    "Laterality cannot be reliably determined.": {"side": N},
    "No prior study is available for comparison.": {"comparison": N},
    "No prior images are available.": {"comparison": N},
    "Comparison: none.": {"comparison": N},
    "Age and sex are unknown.": {"age": N, "sex": N},
    "The patient's age is not provided.": {"age": N},
    "The picture holds no clinical data: no age, sex or earlier images.": {"age": N, "sex": N, "comparison": N},
    "No measurements can be made.": {"measurement": N},
    "It is impossible to judge the heart size.": {"heart size": N},
    "The resolution is too low to assess lobes, effusions or bones.": {"lobe": N, "effusion": N, "bones": N},
    "Whether an effusion is present cannot be determined.": {"effusion": N},
    "The image does not allow assessment of the ribs.": {"bones": N},
    "At 28 pixels the patient's sides, single lobes, heart size, bones and devices cannot be judged.": {
        "side": N,
        "lobe": N,
        "heart size": N,
        "bones": N,
        "device": N,
    },
    "Neither the heart size nor the ribs can be judged.": {"heart size": N, "bones": N},
    "No comment can be made on heart size, bones, or devices.": {"heart size": N, "bones": N, "device": N},
    "Without prior imaging, it is not possible to comment on interval change.": {"comparison": N},
    # Where scopes end
    "No rib fracture can be seen, and heart size cannot be judged.": {"bones": D, "heart size": N},
    "Given the limited resolution, a subtle effusion cannot be ruled out.": {"effusion": H},
    "The heart, mediastinum and bones are normal, and a tube is seen.": {"heart size": D, "bones": D, "device": A},
    "No pleural effusion, but mild cardiomegaly.": {"effusion": D, "heart size": A},
    "No effusion; the ribs are fractured.": {"effusion": D, "bones": A},
    "No effusion, mild cardiomegaly.": {"effusion": D, "heart size": A},
    "No effusion and the heart is enlarged.": {"effusion": D, "heart size": A},
    "Right lower lobe consolidation with no effusion.": {"side": A, "lobe": A, "effusion": D},
    "Consolidation on the left, although the heart size cannot be assessed.": {"side": A, "heart size": N},
    "Possible effusion; heart size is normal.": {"effusion": H, "heart size": D},
    "No opacity in this 4-year-old boy.": {"age": A, "sex": A},
    "Heart size is normal for this boy.": {"heart size": D, "sex": A},
    "Not only an effusion but also cardiomegaly.": {"effusion": A, "heart size": A},
    "No change in the effusion.": {"effusion": A, "comparison": A},
    "No change from the previous exam.": {"comparison": A},
    "The heart size cannot be assessed and there is a left effusion.": {"heart size": N, "side": A, "effusion": A},
    # Nothing of the kind
    "The heat map is strongest in the upper left of the image.": {},
    "Most heat lies on the right side of the image.": {},
    "The Grad-CAM map is strongest in the lower right.": {},
    "The evidence is in the lower right of the picture and the middle left of the image.": {},
    "The image's left half is brighter than its right side in this picture.": {},
    "The classifier is right, and that is all that is left to say right now.": {},
    "The label is right.": {},
    "Research use only: not a medical device, not for diagnosis or treatment.": {},
    "The probability is 0.93 at a threshold of 0.50, with 5 similar cases.": {},
    "A global view: the collar of probability is wide.": {},  # hides "lob" and "old"
    "28×28 pixels.": {},
    "A paediatric chest, the picture of a child.": {},
    "The score is unchanged when the picture is mirrored.": {},
    "The prior probability is .74, the interval is wide.": {},
    "Comparison with the labelled cases supports this.": {},
    "Human readers and others, hereby, this and them.": {},  # hides "man", "her", "he", "his"
    "Distribution of scores, contribution of pixels, described above.": {},  # hides "rib"
    "Signs consistent with pneumonia: hazy opacity.": {},
}


def strongest(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for claim in find_claims(text):
        known = found.get(claim.kind, N)
        found[claim.kind] = min(claim.status, known, key=[A, H, D, N].index)
    return found


@pytest.mark.parametrize("sentence", SENTENCES)
def test_kinds_and_statuses(sentence: str):
    assert strongest(sentence) == SENTENCES[sentence]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_letter_case_and_markdown_do_not_matter(sentence: str):
    assert strongest(sentence.upper()) == SENTENCES[sentence]
    assert strongest(sentence.lower()) == SENTENCES[sentence]
    assert strongest(f"- **{sentence}**") == SENTENCES[sentence]


def test_every_kind_and_status_has_an_example():
    pairs = {pair for expected in SENTENCES.values() for pair in expected.items()}
    assert {kind for kind, _ in pairs} == set(KINDS)
    assert {status for _, status in pairs} == {A, D, H, N} == set(get_args(Status))


@pytest.mark.parametrize("seed", range(5))
def test_sentences_do_not_influence_each_other(seed: int):
    sentences = [sentence if sentence.endswith((".", "?")) else f"{sentence}." for sentence in SENTENCES]
    random.Random(seed).shuffle(sentences)
    apart = [claim for sentence in sentences for claim in find_claims(sentence)]
    assert find_claims(" ".join(sentences)) == apart
    assert find_claims("\n".join(f"- {sentence}" for sentence in sentences)) == apart


def test_mentions_come_in_the_order_of_the_text_with_their_words():
    found = find_claims("No effusion. Right lower lobe opacity of 12 mm, and an effusion is unlikely.")
    assert [(claim.kind, claim.words, claim.status) for claim in found] == [
        ("effusion", "effusion", D),
        ("side", "Right lower lobe opacity", A),
        ("lobe", "lobe", A),
        ("measurement", "12 mm", A),
        ("effusion", "effusion", H),
    ]
    assert {claim.sentence for claim in found[1:]} == {
        "Right lower lobe opacity of 12 mm, and an effusion is unlikely."
    }


def test_unsupported_claims_leave_out_what_is_not_assessable():
    text = "Heart size cannot be assessed. No effusion. Possible fracture. Mild cardiomegaly."
    assert [claim.status for claim in unsupported_claims(text)] == [D, H, A]
    assert len(find_claims(text)) == 4


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "An effusion of 1.5 cm, e.g. on the left. No fracture.",
            ["An effusion of 1.5 cm, e.g. on the left.", "No fracture."],
        ),
        ("- Heart: normal\n- Bones: no fracture", ["Heart: normal", "Bones: no fracture"]),
        ("1. Heart: normal\n2) Effusion: none", ["Heart: normal", "Effusion: none"]),
        ("## Findings:\nNo effusion\nHeart enlarged", ["No effusion", "Heart enlarged"]),
        ("There is no pleural\neffusion here.", ["There is no pleural effusion here."]),
        ("No effusion!Heart? Normal heart.Ribs intact.", ["No effusion!Heart?", "Normal heart.", "Ribs intact."]),
        ("", []),
    ],
)
def test_sentences_are_split(text: str, sentences: list[str]):
    assert list(dict.fromkeys(claim.sentence for claim in find_claims(text))) == sentences


def test_fields_on_one_line_have_their_own_status():
    text = "Heart: normal, Bones: fracture, Effusion: possible, Sex: unknown"
    assert strongest(text) == {"heart size": D, "bones": A, "effusion": H, "sex": N}


@pytest.mark.parametrize("unit", ["no effusion, ", "left lower ", "e.g. ", "mo.", "..", "! ", "age", " ", "(", "\n"])
def test_the_work_grows_with_the_length_of_a_text_and_no_faster(unit: str):
    def cost(length: int) -> float:
        started = time.thread_time()  # of the processor: a busy machine does not count
        find_claims(unit * (length // len(unit)))
        return time.thread_time() - started

    # Five times the length, 25 times the work where all is compared with all: also at the third try.
    assert any(cost(15_000) < 10 * cost(3_000) + 0.2 for _ in range(3))


def test_what_repeats_itself_without_end_is_read_whole():
    assert len(find_claims("no effusion, " * 500)) == 500
    assert {claim.status for claim in find_claims("no effusion, " * 500)} == {D}
