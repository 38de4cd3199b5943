"""What a search takes up from the store, and what it says where a part of that is damaged."""

import json

import pytest

from models.errors import InputError
from tasks.records.base import StoredFile
from tasks.retrieval.published.publication import find_published, publish
from tasks.storage.store import Store
from tests.tasks.retrieval.published.searchable import searchable

NAME = "retrieval/classifier.json"

pytestmark = pytest.mark.usefixtures("outputs")


@pytest.fixture
def published():
    made = searchable()
    assert publish(made, "if_no_worse", 200).published
    return made


def test_what_was_published_is_found(published):
    found = find_published("classifier")
    assert found.same_content(published)
    assert found.published_at


def test_what_an_earlier_version_published_is_found(published):
    """It called the identity of an encoder `encoder`."""
    text = Store().read(NAME).decode()
    assert text.count('"identity":"e 0"') == 6  # of the encoder, the embeddings, three shards and the index
    Store().write(NAME, text.replace('"identity":"e 0"', '"encoder":"e 0"').encode())
    assert find_published("classifier").same_content(published)


@pytest.mark.parametrize("content", [b"", b"{", b"5", b"[1]", b"[" * 100_000, b"\xff", b"{}"])
def test_a_damaged_pointer_is_one_sentence_that_says_what_makes_it_anew(published, content):
    Store().write(NAME, content)
    _refused()


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["dataset"]["counts"].update(test=10**12),
        lambda record: record["dataset"]["counts"].pop("val"),
        lambda record: record["index"]["offsets"].update(test=9),
        lambda record: record["embeddings"]["shards"].pop("val"),
        lambda record: record["embeddings"]["shards"].update(val=[]),
        lambda record: record["index"]["indices"]["all"].update(uri="../../x"),
        lambda record: record["dataset"]["splits"].update(record["index"]["indices"]["all"]),
        lambda record: record.update(more=1),
    ],
)
def test_a_pointer_that_contradicts_the_files_is_refused(published, change):
    record = json.loads(Store().read(NAME))
    change(record)
    Store().write(NAME, json.dumps(record).encode())
    _refused()


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_of_an_index_is_one_sentence_that_says_what_makes_it_anew(published, damage):
    store = Store()
    for file in (
        published.index.indices["all"],
        published.embeddings.shards["val"][0].vectors,
        published.dataset.splits,
    ):
        kept = store.get(file)
        if damage == "cut":
            store.write(file.uri, kept[:-1])
        else:
            store.remove(file.uri)
        assert file.sha256[:4] in _refused()
        store.write(file.uri, kept)
    found = find_published("classifier")
    assert found.same_content(published)
    assert found.published_at


def _refused() -> str:
    with pytest.raises(InputError, match=r"^The index that retrieval/classifier.json .* is damaged \(.+\): ") as caught:
        find_published("classifier")
    told = str(caught.value)
    assert told.isprintable()
    assert "run the retrieval flow again (`python -m flows.retrieval --retrieval.encoders classifier`, or" in told
    return told


def test_files_are_named_as_the_store_names_them(published):
    assert all(isinstance(file, StoredFile) and Store().intact(file) for file in published.stored_files())
