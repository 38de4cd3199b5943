import contextlib
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from models.report_generation.free_text import read_free_text
from models.report_generation.json_answer import read_json
from models.report_generation.parsing import LONGEST_ANSWER, UnreadableReport, read_report, report_json_schema
from models.report_generation.schema import Finding, ReportContent
from models.report_generation.wording import label_of, presence_of, votes_of

FULL = {
    "image_quality": "limited",
    "findings": [{"name": "opacity", "presence": "uncertain", "detail": "hazy centre"}],
    "impression": "Pneumonia is possible.",
    "differential": ["atelectasis"],
    "label": "pneumonia",
    "certainty": "low",
    "limitations": ["very small image"],
}


def read(text: str) -> ReportContent:
    return read_report(text, "free_text")


def read_object(**changes) -> ReportContent:
    return read_report(json.dumps(FULL | changes), "json")


FREE_TEXTS = [
    # Plain and marked-up layouts.
    ("Impression: Hazy chest.\nLabel: pneumonia", "pneumonia"),
    ("Impression: Clear chest.\nLabel: normal", "normal"),
    ("**Impression:** Hazy.\n**Label:** Pneumonia", "pneumonia"),
    ("**Impression**: Hazy.\n**Label**: **pneumonia**", "pneumonia"),
    ("## Impression\nHazy.\n\n## Label\nPneumonia\n", "pneumonia"),
    ("IMPRESSION:\nHazy.\n\nLABEL:\n\nNORMAL.", "normal"),
    ("1. Impression: Hazy.\n2. Label: pneumonia", "pneumonia"),
    ("- Impression: Hazy.\n- Label: pneumonia", "pneumonia"),
    ("* **Impression:** Hazy.\n* **Label:** `pneumonia`", "pneumonia"),
    ("> Impression: Hazy.\n> Label: pneumonia", "pneumonia"),
    ("Impression: Hazy. Label: pneumonia. Certainty: high.", "pneumonia"),
    ("Impression: Hazy. | Label: normal | Certainty: high", "normal"),
    ("impression : hazy\nfinal label = pneumonia", "pneumonia"),
    ("Impression - Hazy.\nLabel - pneumonia", "pneumonia"),
    ("Impression: Hazy.\r\nLabel: pneumonia\r\n", "pneumonia"),
    ("```\nImpression: Hazy.\nLabel: pneumonia\n```", "pneumonia"),
    ("<p><b>Impression:</b> Hazy.</p><p><b>Label:</b> pneumonia</p>", "pneumonia"),
    ("<h2>Label</h2><ul><li>normal</li></ul>", "normal"),
    ("Label: pneumonia", "pneumonia"),
    ("Classification: Normal", "normal"),
    # The label line decides, whatever the impression says.
    ("Impression: No evidence of pneumonia.\nLabel: pneumonia", "pneumonia"),
    ("Impression: Pneumonia.\nLabel: undetermined", None),
    ("Impression: Pneumonia.\nLabel: not assessable", None),
    ("Impression: Pneumonia.\nLabel: opacity", None),
    ("Label: Normal/pneumonia", None),
    ("Label: normal | pneumonia", None),
    ("Label: normal, pneumonia, or undetermined", None),
    ("Label: normal or pneumonia", None),
    ("Label: normal\nLabel: pneumonia", None),
    ("Label: pneumonia\nImpression: Hazy.\nLabel: Pneumonia.", "pneumonia"),
    ("Label: normal\nLabel: undetermined", None),
    ("Label: no pneumonia", "normal"),
    ("Label: Normal (no pneumonia)", "normal"),
    ("Label: pneumonia (not normal)", "pneumonia"),
    ("Label: abnormal", None),
    ("Label: not normal", None),
    ("Label: possible pneumonia", None),
    ("Label: bacterial pneumonia", "pneumonia"),
    # A label line that was cut off before its value is none.
    ("Impression: No evidence of pneumonia.\nLabel:", "normal"),
    ("Impression: Pneumonia is present.\nLabel: n/a", "pneumonia"),
    # Without a label line the impression decides.
    ("Impression: There is no evidence of pneumonia.", "normal"),
    ("Impression: Findings are consistent with pneumonia.", "pneumonia"),
    ("Impression: Normal chest radiograph.", "normal"),
    ("Impression: Normal heart. Pneumonia.", "pneumonia"),
    ("Impression: Pneumonia cannot be excluded.", None),
    ("Impression: Normal chest radiograph. Early pneumonia is possible.", None),
    ("Impression: Normal chest. The hazy area is pneumonia.", None),
    ("Impression: Hazy opacities.", None),
    ("Findings: Pneumonia.\nImpression: Hazy opacities.", None),
    ("I would label this image as pneumonia.", "pneumonia"),
    ("The label is normal.", "normal"),
    ("Based on the chest X-ray, there are **no obvious signs of pneumonia**.", "normal"),
    ("Impression: Hazy.\nRecommendation: Antibiotics for pneumonia.", None),
    # Thinking aloud is no part of the answer.
    ("<unused94>thought\nLabel: normal, I think.<unused95>Label: pneumonia", "pneumonia"),
    ("thought\nperhaps normal<unused95>\nImpression: Pneumonia.", "pneumonia"),
]


@pytest.mark.parametrize(("text", "label"), FREE_TEXTS)
def test_labels_of_free_text(text: str, label: str | None):
    assert read(text).label == label


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "There are no words in it."),
        (" \n\t ", "There are no words in it."),
        ("... 12 ??? **", "There are no words in it."),
        ("<unused94>thought\nThe image shows pneumonia.\nLabel: pneumonia", "It breaks off within the thinking"),
        ("<unused94>thought\nIt is normal.<unused95>", "There are no words in it."),
        ("Findings: Opacity in the centre.", "There is neither a label nor an impression in it."),
        ("Findings:\nImpression:\nLabel:\nCertainty: high", "There is neither a label nor an impression"),
        ("Here is the report:\n", "There is neither a label nor an impression"),
        ("I cannot help with medical images.", "It has no titles and speaks neither of pneumonia nor"),
        ("qx zzk wvu tt rr", "It has no titles and speaks neither of pneumonia nor"),
        ("<html><body></body></html>", "There is neither a label nor an impression"),
    ],
)
def test_free_text_without_a_report_is_said_to_have_none(text: str, reason: str):
    with pytest.raises(UnreadableReport, match=reason) as raised:
        read(text)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    "unit",
    [
        "|", " |", "\n", " ", ".", ",", ", normal", "normal, ", "pneumonia ", "pneumonia or ", "no pneumonia ",
        "not normal ", "not ", "-", "* ", "**", "1. ", "(", "<b", "{", "[", "```", "```\n", "no ", "is ",
        "not clear ", "Label: ", "Findings ", "a: ", "A. ", "é", "&",
    ],
)  # fmt: skip
def test_the_work_grows_with_the_length_of_an_answer_and_no_faster(unit: str):
    def cost(read_any: Callable[[str], ReportContent], length: int) -> float:
        started = time.thread_time()  # of the processor: a busy machine does not count
        with contextlib.suppress(UnreadableReport):
            read_any(f"normal {unit * (length // len(unit))}pneumonia")
        return time.thread_time() - started

    for read_any in (read_free_text, read_json):
        # Four times the length: four times the work, or sixteen times, at each try, where all is compared with all.
        assert any(cost(read_any, LONGEST_ANSWER) < 10 * cost(read_any, LONGEST_ANSWER // 4) + 0.2 for _ in range(3))


def test_an_answer_is_read_up_to_its_longest_length():
    longest = ("Impression: normal. " + " " * LONGEST_ANSWER)[:LONGEST_ANSWER]
    assert read(longest).label == "normal"
    for output in ("free_text", "json"):
        with pytest.raises(UnreadableReport, match=r"20,001 characters, of which no more than 20,000"):
            read_report(f"{longest} ", output)
    assert read_report(f"<unused94>{longest} <unused95>Label: normal", "free_text").label == "normal"


@pytest.mark.parametrize("number", ["9" * 5000, f"-{'9' * 19_000}", "1e99999", "0." + "1" * 15_000])
def test_a_number_of_many_digits_is_one_that_does_not_fit(number: str):
    with pytest.raises(UnreadableReport, match="does not fit the schema"):
        read_report(f'{{"label": {number}}}', "json")


MARKDOWN = """Okay, here is the report:

**Image Quality:** Poor, very small.

**Findings:**
*   **Opacity:** Present. Hazy, in the centre.
*   Heart size: not assessable
* No effusion is seen.
1. Possible haze at the edge

**Differential Diagnosis:**
1. Viral pneumonia
2. Atelectasis.

### Impression
Hazy centre,
which fits pneumonia.

Label: Pneumonia
Certainty: Moderate.

**Limitations:**
- Small image.
- No clinical data.
Disclaimer: Not a diagnosis.
"""


def test_every_section_of_a_markdown_report_is_read():
    assert read(MARKDOWN) == ReportContent(
        image_quality="Poor, very small",
        findings=(
            Finding(name="Opacity", presence="present", detail="Present. Hazy, in the centre."),
            Finding(name="Heart size", presence="not assessable", detail="not assessable"),
            Finding(name="No effusion is seen", presence="absent", detail=""),
            Finding(name="Possible haze at the edge", presence="uncertain", detail=""),
        ),
        differential=("Viral pneumonia", "Atelectasis"),
        impression="Hazy centre, which fits pneumonia.",
        label="pneumonia",
        certainty="Moderate",
        limitations=("Small image.", "No clinical data.", "Not a diagnosis."),
    )


def test_prose_findings_are_split_into_sentences():
    report = read(
        "Findings: The lungs are clear. There may be an opacity. Heart: cannot be judged. Too small.\nLabel: x"
    )
    assert [(finding.name, finding.presence) for finding in report.findings] == [
        ("The lungs are clear", "absent"),
        ("There may be an opacity", "uncertain"),
        ("Heart", "not assessable"),
    ]
    assert report.findings[2].detail == "cannot be judged. Too small."


def test_missing_sections_are_empty():
    assert read("Label: normal") == ReportContent(impression="", label="normal")
    assert read("Findings: None.\nDifferential: n/a\nLabel: normal\nLimitations: none") == read("Label: normal")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("viral pneumonia, bronchiolitis, and atelectasis", ("viral pneumonia", "bronchiolitis", "atelectasis")),
        ("viral pneumonia; bronchiolitis, mild", ("viral pneumonia", "bronchiolitis, mild")),
        (
            "It includes viral pneumonia and bronchiolitis, but also atelectasis.",
            ("It includes viral pneumonia and bronchiolitis, but also atelectasis",),
        ),
        ("none", ()),
    ],
)
def test_a_differential_on_one_line_is_split_where_that_is_plain(text: str, parts: tuple[str, ...]):
    assert read(f"Differential: {text}\nLabel: normal").differential == parts


def test_text_after_the_last_line_does_not_join_it():
    report = read("Impression: Hazy.\nLabel: pneumonia\nCertainty: high\nI hope this helps.")
    assert (report.certainty, report.impression) == ("high", "Hazy.")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("no consolidation, effusion or pneumonia", "normal"),
        ("no effusion, pneumonia is seen", None),
        ("there is no effusion and the haze is pneumonia", None),
        ("neither effusion nor pneumonia", "normal"),
        ("pneumonia is not seen", "normal"),
        ("pneumonia is unlikely", "normal"),
        ("pneumonia is likely", "pneumonia"),
        ("pneumonia: absent", "normal"),
        ("pneumonia, not normal", "pneumonia"),
        ("pneumonia rather than a normal chest", "pneumonia"),
        ("pneumonia?", None),
        ("haze or pneumonia", None),
        ("there is no doubt that this is pneumonia", "pneumonia"),
        ("this doesn’t look like pneumonia", "normal"),
        ("to rule out pneumonia, repeat", None),
        ("the lungs are clear", "normal"),
        ("no acute cardiopulmonary process", "normal"),
        ("the heart size is normal", None),
        ("the picture is not normal", None),
        ("no pleural disease", None),
        ("no effusion, but pneumonia", "pneumonia"),
        ("bronchopneumonia", "pneumonia"),
        ("pneumothorax", None),
        ("", None),
    ],
)
def test_labels_in_words(text: str, label: str | None):
    assert label_of(text) == label
    assert label_of(text.upper()) == label


def test_votes_are_gathered_over_clauses():
    assert votes_of("Normal chest. Pneumonia. Pneumonia is possible.") == {"normal", "pneumonia", "open"}
    assert votes_of("Hazy opacity.") == frozenset()


@pytest.mark.parametrize(
    ("text", "presence"),
    [
        ("present", "present"),
        ("Hazy opacity with no effusion", "present"),
        ("opacity, not large", "present"),
        ("The lungs are not clear", "present"),
        ("abnormal density", "present"),
        ("likely consolidation", "present"),
        ("patchy central opacity", "present"),
        ("a haze over the whole picture", "present"),
        ("not of normal size", "present"),
        ("the middle lobe is spared", "absent"),
        ("neither lines nor tubes", "absent"),
        ("a left-sided infiltrate is suspected", "uncertain"),
        ("too coarse to say anything about effusions", "not assessable"),
        ("absent", "absent"),
        ("No focal consolidation, effusion or pneumothorax", "absent"),
        ("without effusion", "absent"),
        ("unremarkable", "absent"),
        ("there isn't any", "absent"),
        ("possible haze", "uncertain"),
        ("cannot be excluded", "uncertain"),
        ("opacity?", "uncertain"),
        ("not assessable", "not assessable"),
        ("cannot be reliably assessed", "not assessable"),
        ("difficult to evaluate", "not assessable"),
    ],
)
def test_presence_in_words(text: str, presence: str):
    assert presence_of(text) == presence


def test_json_is_read_in_full():
    assert read_object() == ReportContent(
        image_quality="limited",
        findings=(Finding(name="opacity", presence="uncertain", detail="hazy centre"),),
        impression="Pneumonia is possible.",
        differential=("atelectasis",),
        label="pneumonia",
        certainty="low",
        limitations=("very small image",),
    )
    assert read_object(label="undetermined").label is None
    assert read_object(differential=[], limitations=[]).differential == ()


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "```json\n{}\n```",
        "```\n{}\n```",
        "Here is the report:\n{}\nI hope this helps.",
        "<unused94>thought {{ maybe }}<unused95>{}",
        "  \n{}",
    ],
)
def test_json_may_be_wrapped(around: str):
    text = around.replace("{}", json.dumps(FULL, indent=2)).replace("{{", "{").replace("}}", "}")
    assert read_report(text, "json") == read_object()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "There are no words in it."),
        ("   \n", "There are no words in it."),
        ("{}", "There are no words in it."),
        ("The chest is normal.", "There is no JSON object in it."),
        ('["normal"]', "There is no JSON object in it."),
        (json.dumps(FULL)[:-20], "The JSON is damaged or cut off at character"),
        (json.dumps(FULL)[:100], "The JSON is damaged or cut off at character"),
        (str(FULL), "The JSON is damaged or cut off at character 1"),
        (json.dumps(FULL) * 2, "There is more than one JSON object in it."),
        (json.dumps(FULL)[:-1] + ', "label": "normal"}', "The JSON gives a field twice."),
        (json.dumps(FULL | {"mood": "good"}), "does not fit the schema: mood: Extra inputs"),
        (json.dumps(FULL | {"\x1b[2J" + "x" * 9_000: 1}), r"does not fit the schema: \\x1b\[2Jx+…x+: Extra inputs"),
        (json.dumps({k: v for k, v in FULL.items() if k != "label"}), "does not fit the schema: label: Field required"),
        (json.dumps(FULL | {"label": "Pneumonia"}), "does not fit the schema: label: Input should be 'normal', 'pneu"),
        (json.dumps(FULL | {"label": None}), "does not fit the schema: label:"),
        (json.dumps(FULL | {"label": ["normal"]}), "does not fit the schema: label:"),
        (json.dumps(FULL | {"certainty": 0.9}), "does not fit the schema: certainty:"),
        (json.dumps(FULL | {"impression": "a" * 201}), "does not fit the schema: impression: String should have at m"),
        (json.dumps(FULL | {"impression": "..."}), "an impression or the name of a finding without words"),
        (json.dumps(FULL | {"findings": []}), "does not fit the schema: findings:"),
        (json.dumps(FULL | {"findings": FULL["findings"] * 4}), "does not fit the schema: findings:"),
        (
            json.dumps(FULL | {"findings": [{"name": "x", "presence": "maybe", "detail": ""}]}),
            r"findings\.0\.presence:",
        ),
        ('{"a":' * 4_000, "The JSON is"),
    ],
)
def test_json_that_is_no_report_is_refused(text: str, reason: str):
    with pytest.raises(UnreadableReport, match=reason) as raised:
        read_report(text, "json")
    assert "\n" not in str(raised.value)


def longest_answer() -> dict:
    """The longest answer that the schema allows, made from the schema's own bounds."""
    schema = json.loads(report_json_schema())

    def longest(part: dict) -> object:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if "enum" in part:
            return max(part["enum"], key=len)
        if part["type"] == "string":
            return "a" * part["maxLength"]
        if part["type"] == "array":
            return [longest(part["items"])] * part["maxItems"]
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])
        return {name: longest(value) for name, value in part["properties"].items()}

    return longest(schema)  # type: ignore[return-value]


def test_the_schema_bounds_every_answer():
    answer = longest_answer()
    jsonschema.validate(answer, json.loads(report_json_schema()))
    assert len(json.dumps(answer)) <= 400 * 3  # 400 tokens at three characters each
    read_report(json.dumps(answer), "json")


@pytest.mark.parametrize(
    "change", [{"label": "covid"}, {"mood": "good"}, {"impression": "a" * 201}, {"findings": []}, {"certainty": ""}]
)
def test_schema_and_reader_agree(change: dict):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(FULL | change, json.loads(report_json_schema()))
    with pytest.raises(UnreadableReport):
        read_object(**change)


def test_whatever_is_decoded_under_the_schema_is_read(tmp_path: Path):
    import xgrammar
    from transformers import AutoTokenizer

    from tests.support.medgemma_twin import write_checkpoint

    tokenizer = AutoTokenizer.from_pretrained(write_checkpoint(tmp_path))
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=512, stop_token_ids=[1])
    grammar = xgrammar.GrammarCompiler(info).compile_json_schema(report_json_schema(), any_whitespace=False)
    allowed = xgrammar.allocate_token_bitmask(1, 512)
    # Letters, digits and punctuation only: what the grammar allows beyond them is for the decoder to forbid.
    plain = [
        i for i, text in enumerate(info.decoded_vocab) if text.isascii() and text.decode().isprintable() and i > 110
    ]
    letters = random.Random(0)
    for _ in range(5):
        matcher, tokens = xgrammar.GrammarMatcher(grammar), []
        while not matcher.is_terminated():
            matcher.fill_next_token_bitmask(allowed)
            choices = [i for i in plain if int(allowed[0, i // 32]) >> (i % 32) & 1]
            token = letters.choice(choices) if choices else 1
            assert matcher.accept_token(token)
            tokens.append(token)
        text = tokenizer.decode(tokens[:-1])
        written = json.loads(text)
        jsonschema.validate(written, json.loads(report_json_schema()))
        assert len(text) <= 400 * 3
        assert read_report(text, "json").impression == written["impression"]


def test_what_belongs_to_no_section_is_kept_aside():
    text = (
        "A portable film.\n\nComparison: unchanged since the prior study.\nFindings: Hazy opacity.\n"
        "Impression: Pneumonia.\nRecommendations: follow-up film.\nLabel: pneumonia"
    )
    report = read_report(text, "free_text")
    assert report.impression == "Pneumonia."
    assert set(report.asides) == {"A portable film.", "unchanged since the prior study.", "follow-up film."}
    assert read_report("Hazy opacity, likely pneumonia.\nLabel: pneumonia", "free_text").asides == ()
