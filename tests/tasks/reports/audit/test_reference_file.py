import json
import os
from pathlib import Path

import pytest

from models.bounds import REFERENCES_BYTES
from models.errors import InputError
from tasks.reports.audit.reference_file import LONGEST_TEXT, Reference, read_references

DIGEST = "ab" * 32


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'case,reference\n3,"No effusion, clear."\r\n\n0,"Opacity\nlower half"\n'),
        ("a.CSV", '\ufeffreference,case,image_sha256\n"No effusion, clear.",3,\n"Opacity\nlower half",0,\n'),
        (
            "a.json",
            '[{"case": 3, "reference": "No effusion, clear."},\n {"case": 0, "reference": "Opacity\\nlower half"}]',
        ),
        (
            "a.jsonl",
            '{"case": 3, "reference": "No effusion, clear."}\r\n\n{"reference": "Opacity\\nlower half", "case": "0"}',
        ),
    ],
)
def test_the_same_references_are_read_in_every_format(tmp_path, name, content):
    found = read_references(written(tmp_path, name, content), 4)
    assert found == (
        Reference(case=3, image_sha256=None, text="No effusion, clear."),
        Reference(case=0, image_sha256=None, text="Opacity\nlower half"),
    )


def test_images_are_named_by_their_digest_as_well(tmp_path):
    path = written(tmp_path, "a.jsonl", json.dumps({"image_sha256": DIGEST.upper(), "reference": "Clear."}))
    assert read_references(path, None) == (Reference(case=None, image_sha256=DIGEST, text="Clear."),)


def entries(*found: object) -> str:
    return json.dumps(found)


ONE = {"case": 1, "reference": "Clear."}
BAD = {
    "an unknown index": ("a.json", entries(ONE, {"case": 624, "reference": "x"}), "entry 2 is on case 624; count"),
    "a negative index": ("a.json", entries({"case": -1, "reference": "x"}), "entry 1 is on case -1"),
    "an index that is none": ("a.csv", "case,reference\n1.5,x\n", "entry 1 is on case 1.5"),
    "a truth value for an index": ("a.json", entries({"case": True, "reference": "x"}), "entry 1 is on case True"),
    "a digit of another script": ("a.csv", "case,reference\n٣,x\n", "entry 1 is on case"),
    "a duplicate": ("a.json", entries(ONE, {"case": 2, "reference": "x"}, ONE), "entry 3 is on the image of entry 1"),
    "the same index twice, in two forms": (
        "a.json",
        entries(ONE, ONE | {"case": "1"}),
        "entry 2 is on the image",
    ),
    "two ways": ("a.json", entries(ONE, {"image_sha256": DIGEST, "reference": "x"}), "entry 2 names its image in an"),
    "both ways": ("a.json", entries(ONE | {"image_sha256": DIGEST}), "entry 1 has case, reference, image_sha256; give"),
    "neither": ("a.json", entries({"reference": "x"}), "entry 1 has reference; give case"),
    "another column": ("a.csv", "case,reference,patient\n1,x,Doe\n", "entry 1 has case, reference, patient"),
    "a damaged digest": ("a.json", entries({"image_sha256": "ab", "reference": "x"}), "entry 1 is no SHA-256"),
    "an empty reference": ("a.json", entries(ONE | {"reference": " \n"}), "reference of entry 1 is empty or no text"),
    "no text": ("a.json", entries(ONE | {"reference": 5}), "reference of entry 1 is empty or no text"),
    "a long reference": ("a.json", entries(ONE | {"reference": "x" * (LONGEST_TEXT + 1)}), "more than 20,000 charac"),
    "an empty file": ("a.csv", "", "there is no reference in it"),
    "only a header": ("a.csv", "case,reference\n", "there is no reference in it"),
    "an empty list": ("a.json", "[]", "there is no reference in it"),
    "no list": ("a.json", entries(ONE)[1:-1], "it holds no list"),
    "no object": ("a.json", "[3]", "entry 1 is no object"),
    "no JSON": ("a.json", "[{", "it is no JSON"),
    "deep JSON": ("a.json", "[" * 100_000, "it is no JSON"),
    "a line that is no JSON": ("a.jsonl", json.dumps(ONE) + "\n{", "line 2 is no JSON"),
    "a missing cell": ("a.csv", "case,reference\n1\n", "line 2 has not as many cells as the header"),
    "a cell too many": ("a.csv", "case,reference\n1,no, effusion\n", "line 2 has not as many cells as the header"),
    "an open quote": ("a.csv", 'case,reference\n1,"no\n', "after line 1 it is no CSV"),
    "columns of one name": ("a.csv", "case,case,reference\n1,2,x\n", "two columns of its header have the same name"),
    "another encoding": ("a.csv", "case,reference\n1,ödem\n".encode("latin-1"), "byte 17 is not UTF-8; save it as"),
    "another ending": ("a.xlsx", "case,reference\n1,x\n", "its ending is none of .csv, .json and .jsonl"),
    "a large file": ("a.csv", b" " * (REFERENCES_BYTES + 1), "it has more than 4 MiB"),
}


@pytest.mark.parametrize(("name", "content", "told"), BAD.values(), ids=BAD)
def test_a_fault_is_told_in_one_sentence(tmp_path, name, content, told):
    path = written(tmp_path, name, content)
    with pytest.raises(InputError) as refused:
        read_references(path, 624)
    sentence = str(refused.value)
    assert sentence.startswith("--reports.references ")
    assert told in sentence
    assert sentence.count("\n") == 0
    assert len(sentence) <= 300


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, told in (("pipe.csv", "it is no file"), ("folder.csv", "it is no file"), ("none.csv", "cannot be read")):
        with pytest.raises(InputError, match=told):
            read_references(tmp_path / name, None)
