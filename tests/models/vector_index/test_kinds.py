import pytest

from models.vector_index import choose_kind


@pytest.mark.parametrize(
    ("size", "kind"),
    [(1, "flat"), (100_000, "flat"), (100_001, "hnsw"), (2_000_000, "hnsw"), (2_000_001, "ivf")],
)
def test_the_kind_follows_from_the_size(size, kind):
    assert choose_kind(size) == kind
