import json

import pytest
from pydantic import ValidationError

from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.schema import Case, Finding, Provenance, Report


def make_report(**changes) -> Report:
    fields = {
        "case_index": 7,
        "findings": (Finding(name="signs of pneumonia", presence="present", detail="Probable."),),
        "impression": "Pneumonia is probable.",
        "label": "pneumonia",
        "confidence": 0.8,
        "certainty": "probable",
        "limitations": ("Small image.",),
        "provenance": Provenance(
            generator="template",
            version="1",
            strategy="template",
            model=None,
            language_model=False,
            dataset="pneumoniamnist",
            classifier_sha256="0123456789abcdef",
            phantoms=False,
        ),
    }
    return Report(**(fields | changes))


def make_case(**changes) -> Case:
    fields = {
        "index": 7,
        "image_sha256": "ab",
        "probability": 0.8,
        "threshold": 0.5,
        "heat_region": "upper left of the image",
        "heat_share": 0.4,
    }
    return Case(**(fields | changes))


def test_report_survives_json():
    report = make_report()
    assert Report.model_validate(json.loads(json.dumps(report.model_dump(mode="json")))) == report


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": 1.2},
        {"confidence": float("nan")},
        {"limitations": ()},
        {"impression": None},
        {"mood": "good"},
        {"findings": ({"name": "x", "presence": "maybe", "detail": ""},)},
    ],
)
def test_what_is_no_report_is_refused(change: dict):
    with pytest.raises(ValidationError):
        make_report(**change)


def test_a_report_cannot_be_changed():
    with pytest.raises(ValidationError):
        make_report().label = "normal"


@pytest.mark.parametrize(("probability", "label"), [(0.49, "normal"), (0.5, "pneumonia"), (0.51, "pneumonia")])
def test_case_label_follows_the_threshold(probability: float, label: str):
    assert make_case(probability=probability).label == label


def test_the_classes_are_those_of_the_dataset():
    case = make_case(probability=0.7, labels=("benign", "malignant"), neighbours=())
    assert (case.label, case.label_at(0.1)) == ("malignant", "benign")
    assert (case.other("benign"), case.other("malignant")) == ("malignant", "benign")
    assert not case.of_a_chest
    assert make_case().of_a_chest


@pytest.mark.parametrize("change", [{"probability": 1.01}, {"threshold": -0.1}, {"heat_share": float("nan")}])
def test_impossible_case_is_refused(change: dict):
    with pytest.raises(ValidationError):
        make_case(**change)


def test_markdown_holds_every_part():
    text = make_report().as_markdown()
    for part in (
        "### Case 7, template\n",
        "Pneumonia is probable.",
        "**Label.** pneumonia (confidence 0.80, probable)\n",
        "- signs of pneumonia: **present**. Probable.",
        "- Small image.",
        "Written by template 1 (no language model) on pneumoniamnist, classifier 0123456789ab.",
    ):
        assert part in text


def test_markdown_holds_what_is_there_and_no_empty_part():
    full = make_report(differential=("viral pneumonia", "atelectasis"), image_quality="limited").as_markdown()
    assert "**Differential**\n\n- viral pneumonia\n- atelectasis\n" in full
    assert "**Image quality.** limited\n" in full
    bare = make_report(findings=(), label=None, confidence=None, certainty="").as_markdown()
    assert "**Label.** none\n" in bare
    for title in ("Findings", "Differential", "Image quality"):
        assert title not in bare


def test_markdown_names_the_language_model_and_random_weights():
    source = make_report().provenance.model_copy(update={"language_model": True, "model": "some/model"})
    assert "(language model some/model)" in make_report(provenance=source).as_markdown()
    assert RANDOM_WEIGHTS_NOTICE not in make_report(provenance=source).as_markdown()
    untrained = source.model_copy(update={"random_weights": True})
    assert f"**{RANDOM_WEIGHTS_NOTICE}**" in make_report(provenance=untrained).as_markdown()


def test_without_a_probability_there_is_no_label():
    assert make_case(probability=None).label is None


@pytest.mark.parametrize(
    ("revision", "shown"),
    [
        ("290cda5eeccbee130f987c4ad74a59ae6f196408", "290cda5eeccb"),
        ("sha256:290cda5eeccbee130f987c4ad74a59ae6f196408", "sha256:290cd"),
        ("5 parameters, 7 bytes, Q4_K", "5 parameters, 7 bytes, Q4_K"),
        (None, None),
    ],
)
def test_of_a_digest_the_beginning_is_shown_and_of_words_all(revision, shown):
    source = make_report().provenance
    assert source.model_copy(update={"revision": revision}).short_revision == shown


def test_what_wrote_it_is_said_as_far_as_it_is_known():
    source = make_report().provenance.model_copy(update={"model": "m", "server": "http://h/v1 (vLLM 1)"})
    assert source.weights == "m, http://h/v1 (vLLM 1)"
    local = source.model_copy(update={"server": None, "revision": "abc", "precision": "nf4"})
    assert local.weights == "m, revision abc, nf4"
