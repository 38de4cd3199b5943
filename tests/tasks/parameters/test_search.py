"""The form of a search."""

from tasks.parameters.search import SearchParameters


def test_null_stands_for_both_classes():
    assert SearchParameters(among_class=None) == SearchParameters(among_class="both") == SearchParameters()


def test_only_a_search_that_names_nothing_takes_the_example():
    assert SearchParameters(k=3).with_query() == SearchParameters(k=3, index=0)
    for given in ({"index": 7}, {"image": "a.png"}, {"text": ""}):
        assert SearchParameters(**given).with_query() == SearchParameters(**given)
