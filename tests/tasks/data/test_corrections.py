"""Corrected labels: what is read, and how each wrong row is told."""

import numpy as np
import pytest

from models.errors import LONGEST_SENTENCE, InputError
from tasks.classification.trust.doubtful_labels import doubtful_table
from tasks.classification.trust.label_audit import LabelIssue
from tasks.data.corrections import Correction, corrected_labels, corrections_csv, read_corrections

CLASSES = ("normal", "pneumonia, viral")
LABELS = np.array([0, 1, 0, 1, 1], np.uint8)


def read(text: str, classes=CLASSES):
    return read_corrections(text.encode(), "mine.csv", LABELS, classes)


def test_a_list_of_doubtful_labels_comes_back_once_it_is_filled_in():
    issues = [LabelIssue(4, 1, 0, 0.01), LabelIssue(0, 0, 1, 0.25)]
    text = doubtful_table(issues, CLASSES).decode()
    with pytest.raises(InputError, match=r"mine\.csv changes no label: fill in the column corrected"):
        read(text)
    filled = text.replace("0.0100,", "0.0100,normal").replace("0.2500,", "0.2500,normal")  # the second stays
    found = read(filled)
    assert found == (Correction(4, 1, 0),)
    np.testing.assert_array_equal(corrected_labels(LABELS, found), [0, 1, 0, 1, 0])
    assert LABELS[4] == 1
    written = corrections_csv(found, CLASSES)
    assert read(written.decode()) == found
    for other in (filled.replace("\n", "\r\n"), "\ufeff" + filled, filled + "\n\n"):  # as spreadsheets write it
        assert corrections_csv(read(other), CLASSES) == written


def test_semicolons_and_the_columns_of_label_studio_are_read():
    assert read("corrected;index;split\nnormal;3;train\n") == (Correction(3, 1, 0),)
    columns = "image,index,split,given,id,corrected,annotator"
    row = '"data:image/png;base64,AA==",2,train,normal,7,"pneumonia, viral",1'
    assert read(f"{columns}\n{row}\n") == (Correction(2, 0, 1),)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("0,train,normal,flu", "mine.csv, line 2: 'flu' is no class: expected one of normal, pneumonia, viral"),
        ("5,train,normal,normal", "line 2: there is no training image '5': expected an index from 0 to 4."),
        ("-1,train,normal,normal", "line 2: there is no training image '-1'"),
        ("1.0,train,normal,normal", "line 2: there is no training image '1.0'"),
        ("²,train,normal,normal", "line 2: there is no training image '²'"),
        ("0,test,normal,normal", "line 2: the split is 'test': expected train"),
        ("0,val,normal,normal", "line 2: the split is 'val': expected train"),
        ("0", "line 2: the split is '': expected train"),
        (
            '2,train,normal,\n0,train,normal,"pneumonia, viral"\n2,train,normal,',
            "line 4: image 2 was in line 2 already",
        ),
        ("1,train,normal,normal", "line 2: image 1 was normal, but is pneumonia, viral in this dataset"),
        ('0,train,normal,"x', "is no CSV (unexpected end of data)"),
        (f"0,train,normal,{'x' * 200_000}", "is no CSV (field larger than field limit (131072))"),
        (f"0,train,normal,\x1b[31m{'x' * 5000}", "is no class"),
    ],
)
def test_a_wrong_row_is_one_sentence_with_its_line(rows, told):
    with pytest.raises(InputError) as refused:
        read(f"index,split,given,corrected\n{rows}\n")
    sentence = str(refused.value)
    assert told in sentence
    assert len(sentence) <= LONGEST_SENTENCE
    assert sentence.isprintable()


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"index;split\n", b"\x00" * 50])
def test_another_file_is_one_sentence(content):
    with pytest.raises(InputError, match=r"^mine\.csv"):
        read_corrections(content, "mine.csv", LABELS, CLASSES)


def test_a_class_keeps_an_image():
    rows = "".join(f'{index},train,"pneumonia, viral"\n' for index in (0, 2))
    with pytest.raises(InputError, match=r"mine\.csv leaves no training image of the class normal"):
        read(f"index,split,corrected\n{rows}")
