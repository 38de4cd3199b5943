import hashlib
import re
from pathlib import Path

import pytest
import yaml

from models.errors import InputError
from models.report_generation.parsing import read_report, report_json_schema
from models.report_generation.prompting import (
    FOLDER,
    NO_PROBABILITY,
    STRATEGIES,
    VARIABLES,
    load_strategy,
    plain_reports,
    read_strategy,
    render,
    variables_of,
)
from models.report_generation.schema import Answer, Case, NeighbourEvidence, Request

ALL = (*STRATEGIES, "yes_no")
FREE_TEXT = tuple(name for name in STRATEGIES if load_strategy(name).output == "free_text")
JSON = tuple(name for name in STRATEGIES if load_strategy(name).output == "json")


def test_every_file_is_a_strategy_in_the_order_of_the_positions():
    assert STRATEGIES == ("concise", "structured", "differential", "zero_shot", "clinical_role", "context_aware")
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(ALL)
    positions = [load_strategy(name).position for name in ALL]
    assert positions == sorted(set(positions))


NEIGHBOURS = (
    NeighbourEvidence(index=4711, label="pneumonia", similarity=0.931, split="train"),
    NeighbourEvidence(index=4712, label="normal", similarity=0.9, split="train"),
)
FIELDS = {
    "name": "asked",
    "position": 0,
    "version": 1,
    "description": "A question.",
    "output": "free_text",
    "max_new_tokens": 10,
    "system": None,
    "user": "At {{probability}} of {{ threshold }}?",
    "paraphrase": "{{threshold}} or {{probability}}?",
}


def make_request(strategy: str = "context_aware", control: str = "none", **changes) -> Request:
    fields = {
        "index": 617,
        "image_sha256": "abc123",
        "probability": 0.8734,
        "threshold": 0.412,
        "heat_region": "upper left of the image",
        "heat_share": 0.6543,
        "neighbours": NEIGHBOURS,
    }
    return Request(case=Case(**(fields | changes)), image=0, image_sha256="abc123", strategy=strategy, control=control)


def words(strategy: str, control: str = "none", **changes) -> str:
    rendered = render(load_strategy(strategy), make_request(strategy, control, **changes))
    return "\n".join(part for part in (rendered.system, rendered.user) if part)


def write(folder: Path, text: str, name: str = "asked") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def write_fields(folder: Path, **changes) -> Path:
    return write(folder, yaml.safe_dump(FIELDS | changes))


@pytest.mark.parametrize("name", ALL)
def test_files_hold_what_they_should(name: str):
    fields = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert type(fields["version"]) is int
    assert fields["name"] == name
    assert fields["user"] != fields["paraphrase"]
    assert load_strategy(name).model_dump() == fields


@pytest.mark.parametrize("control", ["none", "paraphrase"])
@pytest.mark.parametrize("name", ALL)
def test_every_prompt_is_about_a_child_and_complete(name: str, control: str):
    text = words(name, control)
    assert not re.search(r"\badults?\b", text, re.IGNORECASE)
    assert re.search(r"\bchild\b", text)
    assert "{{" not in text
    assert "}}" not in text
    if name != "yes_no":
        assert '"not assessable"' in text
        assert re.search(r"\bsmall\b", text)
        for label in ("normal", "pneumonia", "undetermined"):
            assert label in text
        for certainty in ("low", "moderate", "high"):
            assert certainty in text


@pytest.mark.parametrize("control", ["none", "paraphrase"])
@pytest.mark.parametrize("name", [name for name in ALL if name != "context_aware"])
def test_only_the_context_aware_prompt_tells_of_the_classifier(name: str, control: str):
    strategy = load_strategy(name)
    assert not variables_of(strategy.user) | variables_of(strategy.paraphrase) | variables_of(strategy.system or "")
    assert "classifier" not in words(name, control)
    other = {"probability": None, "threshold": 0.99, "neighbours": (), "index": 1, "image_sha256": "f"}
    assert words(name, control) == words(name, control, **other)


@pytest.mark.parametrize("control", ["none", "paraphrase"])
def test_the_context_is_told_in_full_and_doubted(control: str):
    text = words("context_aware", control)
    assert re.search(r"pneumonia(?:, calibrated)?: 0\.87\n", text)
    assert re.search(r"pneumonia(?: from a probability of)?: 0\.41\n", text)
    assert "nearest first: pneumonia (similarity 0.93), normal (similarity 0.90)\n" in text
    assert "The classifier can be wrong." in text


def test_nothing_else_of_the_case_is_told():
    text = words("context_aware")
    for secret in ("617", "abc123", "upper left", "0.65", "4711", "train"):
        assert secret not in text
    assert text == words("context_aware", index=5, image_sha256="0", heat_region="no focus", heat_share=0)


@pytest.mark.parametrize("control", ["none", "paraphrase"])
def test_missing_evidence_is_said(control: str):
    text = words("context_aware", control, probability=None, neighbours=())
    assert f": {NO_PROBABILITY}\n" in text
    assert "0.87" not in text
    assert "nearest first: none are available\n" in text
    assert "None" not in text


def test_structured_and_context_aware_differ_in_the_context_alone():
    plain, told = load_strategy("structured"), load_strategy("context_aware")
    for without, with_context in ((plain.user, told.user), (plain.paraphrase, told.paraphrase)):
        paragraphs = with_context.split("\n\n")
        assert without.split("\n\n") == [paragraphs[0], paragraphs[2]]
        assert variables_of(paragraphs[1]) == set(VARIABLES)
    assert (plain.system, plain.max_new_tokens) == (told.system, told.max_new_tokens)


def test_only_the_clinical_role_has_a_system_message():
    assert [name for name in ALL if load_strategy(name).system] == ["clinical_role"]
    assert "paediatric radiologist" in (load_strategy("clinical_role").system or "")


def test_a_paraphrase_is_used_under_its_control_only():
    for name in ALL:
        strategy = load_strategy(name)
        plain = render(strategy, make_request(name))
        assert plain != render(strategy, make_request(name, "paraphrase"))
        for control in ("blank", "flipped", "companions", "alone"):
            assert plain == render(strategy, make_request(name, control))


@pytest.mark.parametrize("text", ["user", "paraphrase"])
@pytest.mark.parametrize("name", [name for name in FREE_TEXT if name != "zero_shot"])
def test_an_answer_in_the_form_asked_for_is_read(name: str, text: str):
    asked = getattr(load_strategy(name), text)
    values = {"Label": "pneumonia", "Certainty": "moderate", "Findings": "- Opacity: present. Hazy."}
    titles = re.findall(r"^([A-Z][a-z ]+): \(", asked, re.MULTILINE)
    assert titles[-2:] == ["Label", "Certainty"]
    assert {"Findings", "Impression"} <= set(titles)
    report = read_report("\n".join(f"{title}: {values.get(title, 'Some words')}" for title in titles), "free_text")
    assert (report.label, report.certainty, report.impression) == ("pneumonia", "moderate", "Some words")
    assert [(finding.name, finding.presence) for finding in report.findings] == [("Opacity", "present")]
    assert report.differential == (("Some words",) if "Differential" in titles else ())
    assert report.image_quality == ("Some words" if "Image quality" in titles else "")
    # A model that repeats the question has not answered it.
    assert read_report(asked, "free_text").label is None


def test_the_answer_to_the_bare_question_is_read():
    report = read_report("Yes, it shows pneumonia.\nLabel: pneumonia\nCertainty: low", "free_text")
    assert (report.impression, report.label, report.certainty) == ("Yes, it shows pneumonia.", "pneumonia", "low")


@pytest.mark.parametrize("name", JSON)
def test_json_prompts_name_every_field_of_the_schema_in_its_order(name: str):
    schema = yaml.safe_load(report_json_schema())
    strategy = load_strategy(name)
    for text in (strategy.user, strategy.paraphrase):
        assert re.findall(r'^"(\w+)":', text, re.MULTILINE) == list(schema["properties"])
        for field in schema["$defs"]["_Finding"]["properties"]:
            assert f'"{field}"' in text
        for field in ("label", "certainty", "image_quality"):
            line = next(line for line in text.splitlines() if line.startswith(f'"{field}"'))
            assert set(re.findall(r'"([^"]+)"', line)[1:]) == set(schema["properties"][field]["enum"])


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"no prompting strategy '../concise': choose one of concise, .*, yes_no\."):
        load_strategy("../concise")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "1"}, "version: Input should be a valid integer"),
        ({"version": 0}, "version: Input should be greater than or equal to 1"),
        ({"version": True}, "version: Input should be a valid integer"),
        ({"output": "xml"}, "output: Input should be 'free_text', 'json' or 'yes_no'"),
        ({"max_new_tokens": 0}, "max_new_tokens: Input should be greater"),
        ({"mood": "good"}, "mood: Extra inputs are not permitted"),
        ({"user": " "}, "user: String should have at least 1 character"),
        ({"system": "{{truth}}"}, r"unknown variables \['truth'\]; there are \['neighbours', 'probability', 'thres"),
        ({"user": "{{probability}}"}, "the prompt and its paraphrase hold different variables"),
        ({"user": "{{probability}} {{threshold}} {{}}"}, "double braces that enclose no variable"),
        ({"paraphrase": "{{probability}} {{threshold}"}, "double braces that enclose no variable"),
        ({"name": "other"}, "is named after 'asked' but holds 'other': rename one"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: dict, words: str):
    assert read_strategy(write_fields(tmp_path)).name == "asked"
    path = write_fields(tmp_path, **change)
    with pytest.raises(InputError, match=words) as raised:
        read_strategy(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_no_such_file_is_refused(tmp_path: Path):
    for text in ("", "a list", "- 1\n- 2"):
        with pytest.raises(InputError, match="does not fit the schema"):
            read_strategy(write(tmp_path, text))
    for content in (
        "version: 2026-13-45",
        "version: 2026-02-30 99:99:99",
        "[" * 5000,
        "a: &a [*a]",
        "? [a]\n: b",
        "\0",
    ):
        (tmp_path / "odd.yaml").write_text(content)
        with pytest.raises(InputError, match=r"odd\.yaml (cannot be read as YAML|does not fit)") as caught:
            read_strategy(tmp_path / "odd.yaml")
        assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="cannot be read as YAML"):
        read_strategy(write(tmp_path, "name: [unclosed"))
    with pytest.raises(InputError, match="cannot be read as YAML"):
        read_strategy(tmp_path / "missing.yaml")
    without = {name: value for name, value in FIELDS.items() if name != "paraphrase"}
    with pytest.raises(InputError, match="paraphrase: Field required"):
        read_strategy(write(tmp_path, yaml.safe_dump(without)))


def test_variables_are_filled_once_and_with_spaces_too(tmp_path: Path):
    strategy = read_strategy(write_fields(tmp_path))
    assert render(strategy, make_request(probability=0.25, threshold=0.5)).user == "At 0.25 of 0.50?"


def test_the_digest_follows_what_decides_the_answers(tmp_path: Path):
    before = read_strategy(write_fields(tmp_path)).digest
    assert len(before) == len(hashlib.sha256().hexdigest())
    commented = "# A comment.\n" + yaml.safe_dump(dict(reversed(FIELDS.items())) | {"description": "Other words."})
    assert read_strategy(write(tmp_path, commented)).digest == before
    for change in ({"user": "{{probability}}{{threshold}}"}, {"version": 2}, {"max_new_tokens": 11}, {"system": "S"}):
        assert read_strategy(write_fields(tmp_path, **change)).digest != before


def test_plain_reports_are_under_no_control_and_no_answers_to_the_bare_question():
    answers = [
        Answer(row_id=f"{strategy} {control}", case_index=0, strategy=strategy, control=control,
               shown_probability=None, prompt="", text="")
        for strategy in ("concise", "yes_no", "structured")
        for control in ("none", "blank")
    ]  # fmt: skip
    assert [answer.row_id for answer in plain_reports(answers)] == ["concise none", "structured none"]
