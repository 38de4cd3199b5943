"""Pictures that are added to published indices, on a real store with real indices."""

import subprocess
import sys

import numpy as np
import pytest

from models.errors import InputError
from tasks.parameters.search import SearchParameters
from tasks.records.retrieval import AddedPicture, SearchableRecord
from tasks.retrieval import encoders
from tasks.retrieval.added_cases import grown_index, read_added
from tasks.retrieval.case_search import search_cases
from tasks.retrieval.published.added_list import NAME, changed_list, read_added_list
from tasks.retrieval.published.additions import NewCase, add_cases, remove_cases, renew_all
from tasks.retrieval.published.publication import find_published, pointer, publish
from tasks.retrieval.search_result import pixel_digest
from tasks.retrieval.vectors import read_index
from tasks.shared.model_size import to_model_size
from tasks.storage.store import Store
from tests.conftest import CHECKOUT
from tests.tasks.retrieval.published.small_index import COUNTS, picture, small_index

pytestmark = pytest.mark.usefixtures("outputs")

ITEMS = sum(COUNTS.values())


@pytest.fixture(autouse=True)
def _nothing_loaded():
    """Each test has a store of its own."""
    encoders._load.cache_clear()
    yield
    encoders._load.cache_clear()


@pytest.fixture
def published(outputs):
    made = small_index()
    assert publish(made, "if_no_worse", 50).published
    return made


def names(searchable=None):
    found = searchable or find_published("classifier")
    return [case.name for part in found.added for case in part.cases]


def search(query=None, **fields):
    form = SearchParameters(**({"k": 5} | fields))
    return search_cases(Store(), find_published("classifier"), form, query)[1]


def digest(record):
    return pixel_digest(Store().get_arrays(record.arrays)["original"])


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_what_was_added_is_found_as_itself_beside_the_images_of_the_dataset(kind):
    publish(small_index(kind=kind), "always", 50)
    change = add_cases([NewCase(picture(1, "a.png"), "pneumonia"), NewCase(picture(2, "b.dcm"))])
    assert [(case.name, case.label) for case in change.changed] == [("a.png", "pneumonia"), ("b.dcm", None)]
    assert (change.known, change.behind) == ((), {})
    for number, label in ((1, 1), (2, None)):
        result = search(picture(number, "query.png"))
        hit = result.hits[0]
        assert hit.similarity == pytest.approx(1, abs=1e-3 if kind == "hnsw" else 1e-6)
        assert (hit.split, hit.name, hit.label) == ("added", ["a.png", "b.dcm"][number - 1], label)
        assert hit.digest == result.query.digest == digest(picture(number))
        assert result.index.added == 2
    assert {hit.split for hit in search(picture(1), k=ITEMS + 2).hits} == {"train", "val", "test", "added"}


def test_the_cosines_are_those_of_a_naive_search(published):
    add_cases([NewCase(picture(number), None) for number in range(4)])
    encoder = encoders.load(published.encoder)
    arrays = Store().get_arrays(published.dataset.splits)
    items = np.concatenate([arrays[f"{split}_images"] for split in COUNTS])
    added = [to_model_size(Store().get_arrays(picture(number).arrays)["original"], 28) for number in range(4)]
    query = picture(9)
    vectors = encoder.encode_images(np.concatenate([items, added])).astype(np.float64)
    (asked,) = encoder.encode_images(Store().get_arrays(query.arrays)["image"][None]).astype(np.float64)
    cosines = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    found = search(query, k=ITEMS + 4)
    assert [hit.similarity for hit in found.hits] == pytest.approx(sorted(cosines, reverse=True), abs=1e-5)
    places = [(split, index) for split, count in (*COUNTS.items(), ("added", 4)) for index in range(count)]
    by_place = dict(zip(places, cosines, strict=True))
    for hit in found.hits:
        assert hit.similarity == pytest.approx(by_place[hit.split, hit.index], abs=1e-5)


def test_the_same_pixels_are_added_once_whatever_their_file_is_called(published):
    add_cases([NewCase(picture(1, "a.png"), "normal")])
    before = Store().read(pointer("classifier", phantoms=False)), Store().read(NAME)
    again = add_cases([NewCase(picture(1, "other.dcm"), "normal"), NewCase(picture(1, "third.dcm"))])
    assert again.changed == ()
    assert [case.name for case in again.known] == ["a.png", "a.png"]
    assert (Store().read(pointer("classifier", phantoms=False)), Store().read(NAME)) == before
    with pytest.raises(
        InputError, match=r"^c\.png was added before, as a\.png, normal: take it out first \(`--add\.rem"
    ):
        add_cases([NewCase(picture(2, "new.png")), NewCase(picture(1, "c.png"), "pneumonia")])
    assert names() == ["a.png"]  # nor was the first of the two added


def test_unlabelled_ones_are_counted_nowhere_and_only_labelled_ones_are_in_the_index_of_their_class(published):
    labels = {"u.png": None, "n.png": "normal", "p.png": "pneumonia"}
    add_cases([NewCase(picture(number, name), label) for number, (name, label) in enumerate(labels.items(), 1)])
    everything = search(picture(1), k=ITEMS + 3)
    labels = [hit.label for hit in everything.hits if hit.label is not None]
    assert len(labels) == ITEMS + 2
    assert everything.class_shares == {
        name: pytest.approx(labels.count(label) / len(labels)) for label, name in enumerate(("normal", "pneumonia"))
    }
    normal = search(picture(1), k=3, among_class="normal")
    assert {hit.label for hit in normal.hits} == {0}
    store, found = Store(), find_published("classifier")
    added = read_added(store, found)
    for name, label in (("normal", 0), ("pneumonia", 1)):
        index = grown_index(store, found, added, name)
        assert set(index.labels) == {label}
        assert len(index) == len(read_index(store, found.index, name)) + 1
    assert len(grown_index(store, found, added)) == ITEMS + 3


def test_they_can_be_left_out_of_a_search(published):
    add_cases([NewCase(picture(1))])
    result = search(picture(1), among_added=False, k=ITEMS)
    assert {hit.split for hit in result.hits} <= set(COUNTS)
    assert result.index.added == 0


def test_a_mistake_can_be_undone_by_the_first_digits(published):
    before = search(picture(1), k=ITEMS)
    add_cases([NewCase(picture(number, f"{number}.png"), "normal") for number in range(1, 6)])
    change = remove_cases([digest(picture(3))[:8].upper(), digest(picture(1))])
    assert [case.name for case in change.changed] == ["3.png", "1.png"]
    assert names() == ["2.png", "4.png", "5.png"]
    assert search(picture(3)).hits[0].name != "3.png"
    assert search(picture(4)).hits[0].name == "4.png"
    remove_cases([digest(picture(number)) for number in (2, 4, 5)])
    assert find_published("classifier").added == ()
    assert search(picture(1), k=ITEMS) == before
    add_cases([NewCase(picture(3, "again.png"), "pneumonia")])  # now with another class
    assert search(picture(3)).hits[0].label == 1


@pytest.mark.parametrize("wrong", ["", "abc", "0" * 64, "Jane Doe"])
def test_what_names_no_added_picture_is_one_sentence(published, wrong):
    add_cases([NewCase(picture(1))])
    with pytest.raises(
        InputError, match=r"^--add\.remove .* of the added pictures: expected the digest of one, or its"
    ):
        remove_cases([digest(picture(1)), wrong])
    assert len(read_added_list().pictures) == 1


def test_a_new_index_takes_what_was_added_over(published):
    add_cases([NewCase(picture(1, "a.png"), "normal"), NewCase(picture(2, "b.png"))])
    parts = find_published("classifier").added
    again = small_index("again", kind="hnsw")  # another index by the same encoder
    assert publish(again, "always", 50).published
    assert find_published("classifier").run_id == "again"
    assert find_published("classifier").added == parts  # not embedded again
    other = small_index("other", seed=5)
    assert publish(other, "always", 50).published
    found = find_published("classifier")
    assert (found.run_id, names()) == ("other", ["a.png", "b.png"])
    assert found.added[0].arrays != parts[0].arrays
    assert search(picture(2)).hits[0].similarity == pytest.approx(1, abs=1e-6)
    assert publish(other, "if_no_worse", 50).reason.startswith("It is the index in use already")
    assert names() == ["a.png", "b.png"]


def test_at_another_size_they_are_made_of_their_own_pixels(published):
    add_cases([NewCase(picture(1, "a.png", (90, 130)))])
    publish(small_index("large", size=64), "always", 50)
    gallery = read_added(Store(), find_published("classifier"))
    original = Store().get_arrays(picture(1, shape=(90, 130)).arrays)["original"]
    assert np.array_equal(gallery.images, to_model_size(original, 64)[None])


def test_an_index_over_phantoms_takes_them_too(published):
    add_cases([NewCase(picture(1, "a.png"))])
    publish(small_index("drawn", phantoms=True), "always", 50)
    add_cases([NewCase(picture(2, "b.png"))])
    drawn = SearchableRecord.model_validate_json(Store().read(pointer("classifier", phantoms=True)))
    assert names(drawn) == names() == ["a.png", "b.png"]


def test_many_that_are_added_one_by_one_lie_in_few_parts(published):
    for number in range(11):
        add_cases([NewCase(picture(number, f"{number}.png"))])
    assert [len(part.cases) for part in find_published("classifier").added] == [8, 2, 1]
    assert names() == [f"{number}.png" for number in range(11)]
    gallery = read_added(Store(), find_published("classifier"))
    for number in (0, 9, 10):
        original = Store().get_arrays(picture(number).arrays)["original"]
        assert np.array_equal(gallery.images[number], to_model_size(original, 28))


def test_two_processes_at_once_lose_nothing(published):
    code = (
        "import sys; from tests.tasks.retrieval.published.small_index import picture; "
        "from tasks.retrieval.published.additions import NewCase, add_cases; "
        "made = [NewCase(picture(int(n), f'{n}.png'), 'normal') for n in sys.argv[1:]]; "
        "print('ready', flush=True); sys.stdin.readline(); [add_cases([each]) for each in made]"
    )
    mine, yours = range(0, 12), range(8, 20)  # four of them in both
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, numbers)], cwd=CHECKOUT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for numbers in (mine, yours)
    ]  # fmt: skip
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 2
    for process in running:  # both begin now
        process.stdin.write("\n")
        process.stdin.close()
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    assert sorted(names()) == sorted(f"{number}.png" for number in range(20))
    assert len(read_added_list().pictures) == 20


def test_what_was_interrupted_is_completed_by_the_next(published):
    with changed_list() as pictures:  # as a process leaves it that is killed before it comes to the index
        add = picture(1, "a.png")
        pictures[digest(add)] = AddedPicture(digest=digest(add), name="a.png", arrays=add.arrays)
    assert names() == []
    assert renew_all() == {}
    assert names() == ["a.png"]


def test_what_is_damaged_is_one_sentence_and_made_anew(published):
    store = Store()
    add_cases([NewCase(picture(1, "a.png"), "normal")])
    (part,) = find_published("classifier").added
    store.write(part.arrays.uri, b"damaged")
    with pytest.raises(InputError, match=r"is damaged in the store: run `python -m flows\.add`, which makes it anew"):
        find_published("classifier")
    assert renew_all() == {}
    assert search(picture(1)).hits[0].name == "a.png"
    store.write(NAME, b"damaged")
    with pytest.raises(InputError, match=rf"^The list of added pictures, {NAME} in the store, is damaged \("):
        add_cases([NewCase(picture(2))])


def test_an_encoder_that_cannot_be_loaded_is_behind_and_the_others_are_not(published):
    store = Store()
    gone = published.encoder.model_copy(
        update={"name": "clip", "identity": "clip x", "model": "/nowhere", "path": "/nowhere", "weights": ()}
    )
    record = published.model_copy(update={"encoder": gone})
    store.write(pointer("clip", phantoms=False), record.model_dump_json().encode())
    change = add_cases([NewCase(picture(1, "a.png"))])
    assert list(change.behind) == ["clip"]
    assert "/nowhere" in change.behind["clip"]
    assert names() == ["a.png"]


def test_pixels_that_are_lost_are_told_of_when_another_encoder_needs_them(published):
    add_cases([NewCase(picture(1, "a.png")), NewCase(picture(2, "b.png"))])
    Store().remove(picture(1).arrays.uri)
    decision = publish(small_index("other", seed=5), "always", 50)
    assert decision.published
    assert "It lacks an added picture: The pixels of a.png are lost (" in decision.reason
    assert names() == ["b.png"]


def test_an_index_that_an_earlier_version_published_is_searched_and_grows(published):
    name = pointer("classifier", phantoms=False)
    old = find_published("classifier").model_dump(mode="json", exclude={"added"})
    Store().write(name, SearchableRecord.model_validate(old).model_dump_json(exclude={"added"}).encode())
    assert find_published("classifier").added == ()
    assert search(picture(1)).index.added == 0
    add_cases([NewCase(picture(1, "a.png"))])
    assert names() == ["a.png"]
    assert find_published("classifier").same_content(published)


def test_without_an_index_and_with_a_class_that_does_not_exist_nothing_is_added(outputs):
    with pytest.raises(InputError, match="There is no index of the encoder classifier yet: run the retrieval flow"):
        add_cases([NewCase(picture(1))])
    publish(small_index(), "if_no_worse", 50)
    with pytest.raises(InputError, match=r"^There is no class covid: expected one of normal, pneumonia, or none"):
        add_cases([NewCase(picture(1)), NewCase(picture(2), "covid")])
    assert read_added_list().pictures == ()
