"""What `models.vector_index.faiss_adapter` uses of FAISS beyond its documented Python interface."""

import faiss
import numpy as np
import pytest

from models.vector_index import faiss_adapter

VECTORS = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)


def filled(index: faiss.Index) -> faiss.Index:
    index.train(VECTORS)
    index.add(VECTORS)
    return index


def test_below_its_blas_threshold_equal_vectors_have_equal_cosines():
    assert faiss.cvar.distance_compute_blas_threshold == faiss_adapter.BLAS_FROM
    generator = np.random.default_rng(0)
    equal = np.repeat(generator.normal(size=(1, 512)), 50, axis=0).astype(np.float32)
    index = faiss.IndexFlatIP(512)
    index.add(equal)
    scores, _ = index.search(generator.normal(size=(2000, 512)).astype(np.float32), 50)
    assert (scores == scores[:, :1]).all()


def test_a_selector_takes_one_bit_per_row_the_lowest_first():
    rows = np.zeros(300, dtype=bool)
    rows[[0, 9, 255, 299]] = True
    index = filled(faiss.IndexFlatL2(8))
    _, found = index.search(VECTORS[:1], 4, params=faiss.SearchParameters(sel=faiss_adapter.selector(rows)))
    assert sorted(found[0]) == [0, 9, 255, 299]


def test_the_links_of_a_graph_lie_row_by_row_and_in_each_level_by_level():
    index = filled(faiss.IndexHNSWSQ(8, faiss.ScalarQuantizer.QT_fp16, 4))
    graph = faiss_adapter.hnsw_graph(index)
    assert (len(graph.levels), len(graph.offsets), graph.offsets[-1]) == (300, 301, len(graph.neighbors))
    assert graph.cumulative[:3].tolist() == [0, 8, 12]  # twice M links on the lowest level, M above
    assert graph.levels[graph.entry_point] == graph.levels.max() == graph.max_level + 1
    for row in range(300):
        links = graph.neighbors[graph.offsets[row] : graph.offsets[row + 1]]
        assert len(links) == graph.cumulative[graph.levels[row]]
        assert set(links) <= {-1, *range(300)} - {row}


def test_every_row_stands_in_one_list():
    index = filled(faiss.IndexIVFScalarQuantizer(faiss.IndexFlat(8), 8, 5, faiss.ScalarQuantizer.QT_fp16))
    lists = list(faiss_adapter.list_ids(index))
    assert len(lists) == 5
    assert sorted(np.concatenate(lists)) == list(range(300))


def test_a_flat_index_keeps_four_bytes_per_number():
    assert faiss_adapter.stored_bytes(filled(faiss.IndexFlatL2(8))) == 300 * 8 * 4


def test_a_length_beyond_the_content_is_refused_and_the_limits_are_put_back():
    before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    content = bytearray(faiss.serialize_index(filled(faiss.IndexFlatL2(8))).tobytes())
    assert faiss_adapter.deserialize(memoryview(content + b"what follows is ignored")).ntotal == 300
    place = content.index((300 * 8).to_bytes(8, "little"))
    content[place : place + 8] = (2**38).to_bytes(8, "little")
    with pytest.raises((RuntimeError, MemoryError), match="limit"):
        faiss_adapter.deserialize(memoryview(content))
    assert (faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()) == before
