"""Which index searches take, on a real store."""

import threading

import pytest

from models.errors import InputError
from tasks.records.retrieval import SearchableRecord
from tasks.retrieval.published.publication import find_published, in_use, pointer, publish
from tasks.storage.store import DamagedFileError, Store
from tests.tasks.retrieval.published.searchable import COUNTS, searchable

pytestmark = pytest.mark.usefixtures("outputs")


def _publish(found, wanted="if_no_worse"):
    return publish(found, wanted, 200)


def _searched(name="classifier"):
    return find_published(name).run_id


def test_the_first_index_over_whole_data_is_published_with_its_moment():
    decision = _publish(searchable())
    assert decision.published
    assert decision.reason == "The first index of the encoder classifier over whole data."
    found = find_published("classifier")
    assert found.run_id == "first"
    assert found.published_at.endswith("+00:00")
    assert found.same_content(searchable())


def test_a_trial_never_takes_the_search_over_unless_asked_for():
    trial = searchable("trial", limit=32, seed=1, sharpness=9)
    decision = _publish(trial)
    assert not decision.published
    assert decision.reason == (
        "Not published, since it is a trial: it holds only the first 32 images of each split; to search it "
        "nevertheless, run with --retrieval.publish always."
    )
    with pytest.raises(InputError, match="There is no index of the encoder classifier yet"):
        find_published("classifier")
    _publish(searchable())
    assert not _publish(trial).published
    assert _searched() == "first"
    assert _publish(trial, "always").published
    assert _searched() == "trial"
    decision = _publish(searchable("whole"))
    assert decision.published  # whatever the trial finds
    assert decision.reason == "The index in use holds only the first 32 images of each split, this one all."


def test_only_what_is_worse_beyond_chance_stays_out():
    _publish(searchable("good"))
    worse = searchable("worse", seed=1, sharpness=0.2)
    decision = _publish(worse)
    assert not decision.published
    assert decision.reason.startswith("Not published. Worse than the index in use on validation, leave-one-out")
    assert decision.reason.endswith("In use stays that of the run good.")
    assert _searched() == "good"
    assert _publish(searchable("as good", seed=2, dimension=6)).published  # of whatever dimension
    assert _searched() == "as good"
    assert _publish(worse, "always").published
    assert _searched() == "worse"
    assert not _publish(searchable("better", sharpness=4), "never").published
    assert _searched() == "worse"


def test_the_same_again_keeps_run_and_moment_and_renews_where_its_files_lie():
    _publish(searchable())
    before = find_published("classifier")
    again = searchable("again")
    moved = again.model_copy(update={"encoder": again.encoder.model_copy(update={"path": "/elsewhere"})})
    decision = _publish(moved)
    assert decision.published
    assert decision.reason == "It is the index in use already, built by the run first."
    after = find_published("classifier")
    assert (after.run_id, after.published_at, after.encoder.path) == ("first", before.published_at, "/elsewhere")
    assert after.content_digest() == before.content_digest()  # so that searches that were kept are hits


def test_what_is_over_other_validation_images_is_not_compared():
    _publish(searchable())
    decision = _publish(searchable("mine", images=1, kind="own file", sharpness=9))
    assert not decision.published
    assert "of the run first, is over pneumoniamnist at 4 pixels with other validation images" in decision.reason
    assert decision.reason.endswith("run with --retrieval.publish always.")
    assert _searched() == "first"


def test_a_grown_file_is_compared_on_its_validation_images_and_a_shrunk_one_stays_out():
    small = searchable("small", counts=COUNTS | {"test": 6}, kind="own file")
    assert _publish(small).published
    assert _publish(searchable("grown", kind="own file")).reason.startswith("No worse than the index in use")
    assert _searched() == "grown"
    decision = _publish(small)
    assert not decision.published
    assert "it holds 74 images, the one in use, of the run grown, 76" in decision.reason
    assert _searched() == "grown"


def test_phantoms_are_searched_only_where_there_are_no_real_data():
    phantoms = {"kind": "phantoms", "phantoms": True, "images": 5}
    assert _publish(searchable("drawn", **phantoms)).published
    assert find_published("classifier").dataset.phantoms
    assert _publish(searchable("real", sharpness=0.2)).published
    assert _searched() == "real"
    for seed, wanted in ((3, "if_no_worse"), (4, "always")):
        _publish(searchable(f"drawn {wanted}", seed=seed, **phantoms), wanted)
        assert _searched() == "real"
    assert in_use("classifier", phantoms=True).run_id == "drawn always"


def test_each_encoder_has_an_index_of_its_own():
    _publish(searchable("a"))
    _publish(searchable("b", sharpness=0.2, name="metric"))
    assert (_searched(), _searched("metric")) == ("a", "b")


@pytest.mark.parametrize("damage", ["record", "older", "vectors", "images", "index"])
def test_one_that_cannot_be_read_is_replaced_and_the_reason_says_so(damage):
    store, good = Store(), searchable("good", sharpness=4)
    _publish(good)
    if damage == "record":
        store.write(pointer("classifier", phantoms=False), b'{"dataset": 5')
        told = "its record is damaged or of another version"
    elif damage == "older":
        record = find_published("classifier").model_dump(mode="json", exclude={"run_id", "published_at"})
        store.write(pointer("classifier", phantoms=False), SearchableRecord(**record).model_dump_json().encode())
        told = "it was published by an earlier version"
    else:
        file = {
            "vectors": good.embeddings.shards["val"][0].vectors,
            "images": good.dataset.splits,
            "index": good.index.indices["all"],
        }[damage]
        store.write(file.uri, b"damaged")
        told = f"{file.uri} in the store at "
    with pytest.raises(DamagedFileError):
        in_use("classifier", phantoms=False)
    worse = searchable("worse", seed=1, sharpness=0.2, images=int(damage == "images"))  # the same would mend it
    decision = _publish(worse)
    assert decision.published
    assert decision.reason.startswith("The index in use cannot be read (")
    assert told in decision.reason
    assert _searched() == "worse"


def test_a_trial_does_not_take_the_place_of_one_that_cannot_be_read():
    Store().write(pointer("classifier", phantoms=False), b"damaged")
    assert not _publish(searchable("trial", limit=32)).published


def test_of_two_at_once_the_worse_does_not_win():
    """Whoever comes first: the second one meets the first as the one in use."""
    both = [searchable("good", sharpness=4), searchable("bad", seed=1, sharpness=0.2)]
    for order in (both, both[::-1]):
        threads = [threading.Thread(target=_publish, args=(each,)) for each in order]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert _searched() == "good"


def test_each_dataset_has_its_own_index_and_what_people_added_is_of_the_chest_x_rays_alone():
    _publish(searchable("chest"))
    other = searchable("cells")
    cells = other.model_copy(update={"dataset": other.dataset.model_copy(update={"name": "bloodmnist"})})
    decision = _publish(cells)
    assert decision.reason == "The first index of the encoder classifier over the whole of bloodmnist."
    assert _searched() == "chest"
    assert find_published("classifier", "bloodmnist").run_id == "cells"
    assert in_use("classifier", phantoms=False, dataset="bloodmnist").dataset.name == "bloodmnist"
    with pytest.raises(InputError, match=r"over retinamnist yet: .*flows\.retrieval --dataset\.name retinam"):
        find_published("classifier", "retinamnist")
