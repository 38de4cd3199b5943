import hashlib
import json
import struct

import faiss
import numpy as np
import psutil
import pytest

from models.errors import InputError
from models.vector_index import build, dump, load

KINDS = ("flat", "hnsw", "ivf")


@pytest.fixture
def make(clustered):
    def one(kind, count=500, **chosen):
        vectors, labels = clustered(count)
        return build([(vectors, np.arange(100, 100 + count), labels)], encoder="e", kind=kind, **chosen), vectors

    return one


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_the_same_after_loading_and_can_be_added_to(make, kind, metric):
    index, vectors = make(kind, metric=metric)
    content = dump(index)
    other = load(content)
    assert (other.kind, other.metric, other.encoder, other.dimension) == (kind, metric, "e", 16)
    assert dump(other) == content
    assert other.ids.tolist() == index.ids.tolist()
    assert other.labels.tolist() == index.labels.tolist()
    ours, theirs = index.search(vectors, 7, encoder="e"), other.search(vectors, 7, encoder="e")
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_array_equal(ours.similarities, theirs.similarities)
    other.add(-vectors[:1], np.array([7]), np.array([1]), encoder="e")
    assert other.search(-vectors[:1], 1, encoder="e").ids.tolist() == [[7]]


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
        lambda body, header, members: (body, header, b"\xff" * 8 + members[8:]),  # the id -1
        lambda body, header, members: (body, header, members[:-8]),
        lambda body, header, members: (body, header, members[:-1]),
        lambda body, header, members: (b"", header, members),
        lambda body, header, members: (body[:200], header, members),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_whose_parts_do_not_belong_together_is_refused(make, kind, change):
    with pytest.raises(InputError, match=r"The vector index .* build it again"):
        load(put_together(*change(*parts(dump(make(kind)[0])))))


@pytest.mark.parametrize("kind", KINDS)
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
    faiss.rev_swig_ptr(lists.structure.index.invlists.get_ids(0), 1)[0] = 500
    with pytest.raises(InputError, match="do not belong"):
        load(dump(lists))
