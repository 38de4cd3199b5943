"""The form of a search."""

import medmnist

from tasks.parameters.search import SearchParameters


def test_null_stands_for_both_classes():
    assert SearchParameters(among_class=None) == SearchParameters(among_class="both") == SearchParameters()


def test_only_a_search_that_names_nothing_takes_the_example():
    assert SearchParameters(k=3).with_query() == SearchParameters(k=3, index=0)
    for given in ({"index": 7}, {"image": "a.png"}, {"text": ""}):
        assert SearchParameters(**given).with_query() == SearchParameters(**given)


def test_the_form_offers_every_class_of_every_set_that_is_searched():
    offered = SearchParameters.model_json_schema()["properties"]["among_class"]["enum"]
    assert offered[:3] == ["both", "normal", "pneumonia"]
    assert len(set(offered)) == len(offered)
    flat = {name: info for name, info in medmnist.INFO.items() if "MD5_224" in info and name != "chestmnist"}
    assert len(flat) == 11
    assert set(offered) == {"both", *(label for info in flat.values() for label in info["label"].values())}
