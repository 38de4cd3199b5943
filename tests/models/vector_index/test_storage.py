import hashlib
import json
import struct

import faiss
import numpy as np
import psutil
import pytest

from models.errors import InputError
from models.vector_index import build, dump, load, open_mapped, save

KINDS = ("flat", "hnsw", "ivf")


@pytest.fixture
def make(clustered):
    def one(kind, count=500, **chosen):
        vectors, labels = clustered(count)
        return build([(vectors, np.arange(100, 100 + count), labels)], encoder="e", kind=kind, **chosen), vectors

    return one


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_the_same_after_loading(make, tmp_path, kind, metric):
    index, vectors = make(kind, metric=metric)
    index.remove(np.array([103, 207]))
    content = dump(index)
    save(index, tmp_path / "index")
    assert (tmp_path / "index").read_bytes() == content
    for other in (load(content), open_mapped(tmp_path / "index")):
        assert (other.kind, other.metric, other.encoder, other.dimension) == (kind, metric, "e", 16)
        assert other.digest == index.digest
        assert other.ids.tolist() == index.ids.tolist()
        assert other.labels.tolist() == index.labels.tolist()
        ours, theirs = index.search(vectors, 7, encoder="e"), other.search(vectors, 7, encoder="e")
        np.testing.assert_array_equal(ours.ids, theirs.ids)
        np.testing.assert_array_equal(ours.similarities, theirs.similarities)
    assert dump(load(content)) == content


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_index_can_be_changed(make, kind):
    index, vectors = make(kind)
    changed = load(dump(index))
    changed.remove(np.arange(100, 300))
    changed.add(vectors[:1], np.array([7]), np.array([1]), encoder="e")
    assert changed.search(vectors[:1], 1, encoder="e").ids.tolist() == [[7]]


@pytest.mark.parametrize("kind", KINDS)
def test_faiss_itself_reads_a_dumped_index(make, tmp_path, kind):
    path = tmp_path / "index.faiss"
    path.write_bytes(dump(make(kind)[0]))
    assert faiss.read_index(str(path)).ntotal == 500


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_index_is_refused(make, kind):
    content = dump(make(kind)[0])
    damages = [b"", b"junk", content[:-1], content[: len(content) // 2], content + b"x"]
    places = range(0, len(content), len(content) // 97)
    damages += [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in places]
    for damaged in damages:
        with pytest.raises(InputError, match="damaged"):
            load(damaged)


def test_opening_verifies_ids_labels_and_encoder(make, tmp_path):
    content = dump(make("ivf")[0])
    body = content.index(b'{"encoder"')
    for place in range(body, len(content), 50):
        path = tmp_path / str(place)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match="damaged"):
            open_mapped(path)
    with pytest.raises(InputError, match="no vector index"):
        open_mapped(tmp_path / "absent")


def test_an_index_of_another_kind_behind_the_header_is_refused(make):
    index, _ = make("flat")
    index.kind = "ivf"
    with pytest.raises(InputError, match=r"IndexFlat.* but an index of the kind ivf"):
        load(dump(index))


def test_a_mapped_index_cannot_be_changed_or_written(make, tmp_path):
    index, vectors = make("ivf")
    save(index, tmp_path / "index")
    mapped = open_mapped(tmp_path / "index")
    for change in (
        lambda: mapped.add(vectors[:1], np.array([1]), np.array([1]), encoder="e"),
        lambda: mapped.remove(np.array([100])),
        lambda: dump(mapped),
    ):
        with pytest.raises(InputError, match="memory-mapped"):
            change()


def test_a_file_can_be_replaced_while_it_is_mapped(make, tmp_path):
    index, vectors = make("ivf")
    save(index, tmp_path / "index")
    mapped = open_mapped(tmp_path / "index")
    save(make("flat", count=10)[0], tmp_path / "index")
    assert mapped.search(vectors[:3], 1, encoder="e").ids.ravel().tolist() == [100, 101, 102]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_opening_does_not_read_the_vectors(tmp_path, kind):
    ids = np.arange(20_000)
    vectors = np.random.default_rng(0).normal(size=(20_000, 512)).astype(np.float32)
    index = build([(vectors[:2000], ids[:2000], ids[:2000])], encoder="e", kind=kind)  # few lists, quick to train
    index.add(vectors[2000:], ids[2000:], ids[2000:], encoder="e")
    save(index, tmp_path / "index")  # it stays, so that its memory cannot hide what opening takes
    process = psutil.Process()
    before = process.memory_info().rss
    mapped = open_mapped(tmp_path / "index")
    grown = process.memory_info().rss - before
    assert (tmp_path / "index").stat().st_size > 20 * 2**20
    assert grown < 5 * 2**20
    assert mapped.search(vectors[:1], 1, encoder="e").ids.tolist() == [[0]]


def parts(content):
    """FAISS's part, the header, and ids and labels."""
    body_bytes, header_bytes = struct.unpack("<QQ", content[-48:-32])
    tail = content[body_bytes:-48]
    return content[:body_bytes], json.loads(tail[:header_bytes]), tail[header_bytes:]


def put_together(body, header, members):
    """A file whose digests all hold, whatever is in it."""
    if isinstance(header, dict):
        header = json.dumps({**header, "faiss_sha256": hashlib.sha256(body).hexdigest()}, sort_keys=True).encode()
    tail = header + members + struct.pack("<QQ", len(body), len(header))
    return body + tail + hashlib.sha256(tail).digest()


@pytest.mark.parametrize(
    "change",
    [
        lambda body, header, members: (body, b"5", members),
        lambda body, header, members: (body, b"{", members),
        lambda body, header, members: (body, b"[" * 100_000, members),
        lambda body, header, members: (body, header | {"kind": "tree"}, members),
        lambda body, header, members: (body, header | {"metric": "l2"}, members),
        lambda body, header, members: (body, header | {"encoder": 5}, members),
        lambda body, header, members: (body, header | {"rows": -1}, members),
        lambda body, header, members: (body, header | {"rows": 10**12}, members),
        lambda body, header, members: (body, header | {"rows": 400}, members[: 400 * 16]),
        lambda body, header, members: (body, header, members[:-8]),
        lambda body, header, members: (body, header, members[:-1]),
        lambda body, header, members: (b"", header, members),
        lambda body, header, members: (body[:200], header, members),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_whose_parts_do_not_belong_together_is_refused(make, tmp_path, kind, change):
    content = put_together(*change(*parts(dump(make(kind)[0]))))
    (tmp_path / "index").write_bytes(content)
    for read in (lambda: load(content), lambda: open_mapped(tmp_path / "index")):
        with pytest.raises(InputError, match=r"The vector index .* build it again"):
            read()


@pytest.mark.parametrize("kind", ["flat", "hnsw"])  # an index of lists has rows that are gone from them
def test_an_index_of_fewer_rows_than_ids_is_refused(make, kind):
    body, header, members = parts(dump(make(kind)[0]))
    with pytest.raises(InputError, match="do not belong to each other"):
        load(put_together(body, header | {"rows": 501}, members + bytes(16)))


@pytest.mark.parametrize(("kind", "size"), [("flat", 500 * 16), ("hnsw", 500 * 16 * 2)])  # in floats, in bytes
def test_a_length_beyond_the_file_is_not_allocated(make, kind, size):
    body, header, members = parts(dump(make(kind)[0]))
    place = body.index(size.to_bytes(8, "little"))
    before = psutil.Process().memory_info().rss
    with pytest.raises(InputError, match="cannot be read"):
        load(put_together(body[:place] + (2**38).to_bytes(8, "little") + body[place + 8 :], header, members))
    assert psutil.Process().memory_info().rss - before < 2**28


def test_another_index_under_the_same_ids_is_refused(make):
    bodies = {kind: parts(dump(make(kind)[0])) for kind in KINDS}
    for kind, (_, header, members) in bodies.items():
        for other, (body, _, _) in bodies.items():
            if other != kind:
                with pytest.raises(InputError, match=f"but an index of the kind {kind} was expected"):
                    load(put_together(body, header, members))
        smaller = parts(dump(make(kind, count=300)[0]))[0]
        if kind != "ivf":  # whose removed rows are gone from the lists
            with pytest.raises(InputError, match="do not belong to each other"):
                load(put_together(smaller, header, members))


def test_links_and_lists_that_lead_nowhere_are_refused(make):
    index = make("hnsw")[0]
    graph = index.structure.index.hnsw
    links = faiss.vector_to_array(graph.neighbors)
    for wrong in (500, 2**31 - 1, -2):
        changed = links.copy()
        changed[3] = wrong
        faiss.copy_array_to_vector(changed, graph.neighbors)
        with pytest.raises(InputError, match=r"do not belong|cannot be read"):
            load(dump(index))
    lists = make("ivf")[0]
    with pytest.raises(InputError, match="do not belong"):
        body, header, members = parts(dump(lists))
        load(put_together(body, header | {"rows": 499}, members[:-16]))
