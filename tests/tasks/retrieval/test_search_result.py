import hashlib
import json

import numpy as np
import pytest
from pydantic import ValidationError

from models.errors import InputError
from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.records.retrieval import AddedCase
from tasks.retrieval.search_result import Query, SearchedIndex, SearchResult, describe_shares, rank_hits, search_report

IMAGE = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)


def hits():
    # The items of the index in an order of their own; id 7 is train #2, 9 is test #0, 4 is val #5.
    return rank_hits(
        np.array([0.75, 0.5, 0.25], dtype=np.float32), np.array([9, 4, 7]), np.array([4, 7, 9]),
        ["val", "train", "test"], np.array([5, 2, 0]), np.array([1, 0, 1]),
    )  # fmt: skip


def result(**changes):
    fields = {
        "query": Query.from_item("test", 3, 1, IMAGE), "encoder": "classifier", "encoder_identity": "classifier abc",
        "index": SearchedIndex(
            run_id="9f2c", published_at="2026-11-27T02:00:07+00:00", dataset="pneumoniamnist",
            dataset_digest="28209eda", images={"train": 4708, "val": 524, "test": 624},
        ),
        "class_names": ("normal", "pneumonia"), "splits": ("train", "val", "test"), "label": None, "k": 3,
        "hits": hits(), "phantoms": False,
    }  # fmt: skip
    return SearchResult(**(fields | changes))


def test_hits_are_named_by_id_and_keep_their_order():
    found = [(hit.rank, hit.split, hit.index, hit.label, hit.similarity) for hit in hits()]
    assert found == [(1, "test", 0, 1, 0.75), (2, "val", 5, 1, 0.5), (3, "train", 2, 0, 0.25)]


def test_an_id_that_no_item_has():
    with pytest.raises(InputError, match="the id 8, which no item"):
        rank_hits(np.array([0.5]), np.array([8]), np.array([4]), ["val"], np.array([5]), np.array([1]))


def test_json_says_everything():
    written = json.loads(result().to_json())
    assert written["query"] == {
        "kind": "index", "name": "test #3", "split": "test", "index": 3, "label": 1,
        "digest": Query.from_item("test", 3, 1, IMAGE).digest,
    }  # fmt: skip
    assert written["class_shares"] == pytest.approx({"normal": 1 / 3, "pneumonia": 2 / 3})
    assert written["hits"][1] == {
        "rank": 2, "split": "val", "index": 5, "label": 1, "similarity": 0.5, "distance": None,
        "name": None, "digest": None,
    }  # fmt: skip
    assert written["notice"] == RESEARCH_NOTICE
    assert written["encoder_identity"] == "classifier abc"
    assert (written["splits"], written["label"], written["k"]) == (["train", "val", "test"], None, 3)
    assert written["phantoms"] is False


def test_what_was_searched_is_said_by_name_in_json_and_markdown():
    found = result()
    assert json.loads(found.to_json())["index"] == {
        "run_id": "9f2c", "published_at": "2026-11-27T02:00:07+00:00", "dataset": "pneumoniamnist",
        "dataset_digest": "28209eda", "images": {"train": 4708, "val": 524, "test": 624}, "added": 0,
    }  # fmt: skip
    assert str(found.index) == (
        "Searched: the index of the MLflow run 9f2c, published 2026-11-27T02:00:07+00:00, over 5856 images of "
        "pneumoniamnist (4708 train, 524 val, 624 test)."
    )
    report = search_report(found)
    for row in (
        "| index of the MLflow run | 9f2c |",
        "| published | 2026-11-27T02:00:07+00:00 |",
        "| over | pneumoniamnist, digest 28209eda |",
        "| images | 4708 train, 524 val, 624 test |",
    ):
        assert row in report
    unnamed = found.index.model_copy(update={"run_id": "", "published_at": ""})
    assert str(unnamed).startswith("Searched: the index of an unnamed run, over 5856 images of pneumoniamnist (")


def added_hits():
    """One added without a class, one with, and one of the dataset."""
    cases = [AddedCase(digest="d1", name="scan.dcm"), AddedCase(digest="d2", name="b | c.png", label="normal")]
    return rank_hits(
        np.array([1, 0.5, 0.25]), np.array([2, 1, 0]), np.arange(3), ["test", "added", "added"], np.array([4, 1, 0]),
        np.array([1, 0, -1]), cases,
    )  # fmt: skip


def test_what_was_added_is_shown_as_such_and_counts_only_with_a_label():
    found = result(hits=added_hits(), index=result().index.model_copy(update={"added": 2}))
    assert [(hit.title, hit.label, hit.name, hit.digest) for hit in found.hits] == [
        ("added: scan.dcm", None, "scan.dcm", "d1"),
        ("added: b | c.png", 0, "b | c.png", "d2"),
        ("test #4", 1, None, None),
    ]
    assert found.class_shares == {"normal": 0.5, "pneumonia": 0.5}
    told = "Labels of the 3 nearest cases: 1 normal and 1 pneumonia; 1 unlabelled, not counted."
    assert describe_shares(found) == told
    report = search_report(found)
    assert "| 1 | added: scan.dcm | unlabelled | 1.000 |\n| 2 | added: b \\| c.png | normal | 0.500 |" in report
    assert told in report
    assert "| added since | 2 |" in report
    assert str(found.index).endswith("(4708 train, 524 val, 624 test), and 2 added.")
    alone = result(hits=added_hits()[:1])
    assert alone.class_shares == {"normal": 0, "pneumonia": 0}
    assert describe_shares(alone) == "The nearest case is unlabelled."


def test_a_result_that_an_earlier_version_wrote_is_read():
    written = json.loads(result().to_json())
    del written["class_shares"], written["index"]["added"]
    for hit in written["hits"]:
        del hit["name"], hit["digest"]
    assert SearchResult.model_validate(written) == result()


def test_queries():
    text = Query.from_text("  lobar \n consolidation ")
    assert (text.kind, text.name, text.label) == ("text", "lobar consolidation", None)
    assert text.digest == hashlib.sha256(b"lobar consolidation").hexdigest()
    image = Query.from_file("/patients/jane/chest.dcm", IMAGE)
    assert (image.kind, image.name, image.label) == ("image", "chest.dcm", None)
    assert image.digest == Query.from_item("val", 0, 0, IMAGE).digest  # of the pixels alone
    assert image.digest != Query.from_file("chest.dcm", IMAGE.T).digest
    assert image.digest != Query.from_file("chest.dcm", IMAGE.reshape(14, 56)).digest


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "?!"])
def test_an_empty_text_is_refused(text):
    with pytest.raises(InputError, match="is empty"):
        Query.from_text(text)


def test_a_result_without_hits_is_none():
    with pytest.raises(ValidationError):
        result(hits=())


def test_the_sentence_counts_the_labels():
    assert describe_shares(result()) == "Labels of the 3 nearest cases: 1 normal and 2 pneumonia."
    assert describe_shares(result(hits=hits()[:1])) == "The nearest case is labelled pneumonia."
    assert "Only pneumonia cases were searched" in describe_shares(result(label=1, hits=hits()[:2]))


def test_the_report_holds_a_row_a_hit_and_the_notices():
    report = search_report(result())
    assert "| 1 | test #0 | pneumonia | 0.750 |\n| 2 | val #5 | pneumonia | 0.500 |\n| 3 | train #2 | normal" in report
    assert RESEARCH_NOTICE in report
    assert "classifier abc" in report
    assert "| its label | pneumonia |" in report
    assert PHANTOM_NOTICE not in report
    assert PHANTOM_NOTICE in search_report(result(phantoms=True))


def test_a_distance_is_shown_as_one():
    hits = rank_hits(
        np.array([-0.25, -4.0]), np.arange(2), np.arange(2), ["test"] * 2, np.arange(2), np.arange(2), metric="l2"
    )
    assert [(hit.distance, hit.similarity, hit.closeness) for hit in hits] == [
        (0.25, None, "0.250"),
        (4, None, "4.000"),
    ]


def test_a_text_cannot_write_markup_into_the_report():
    report = search_report(result(query=Query.from_text("a | b <img src=x>")))
    assert "| text | a \\| b &lt;img src=x&gt; |" in report
    assert "its label" not in report
