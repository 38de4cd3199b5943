"""The step of one search."""

from tasks.execution.caching import step
from tasks.parameters.search import SearchParameters
from tasks.records.data import PictureRecord
from tasks.records.retrieval import SearchableRecord, SearchRecord
from tasks.storage.store import Store


@step
def search_cases(searchable: SearchableRecord, search: SearchParameters, picture: PictureRecord | None) -> SearchRecord:
    """Find the cases nearest to one query."""
    from tasks.retrieval import case_search
    from tasks.retrieval.figures.search import search_gallery
    from tasks.retrieval.search_result import search_report

    store = Store()
    question, result, images = case_search.search_cases(store, searchable, search, picture)
    gallery = search_gallery(result, images, query_image=question.image, original=question.original)
    return SearchRecord(
        result=store.put(result.to_json().encode(), "application/json"),
        gallery=store.put(gallery, "image/png"),
        document=store.put(search_report(result).encode(), "text/markdown"),
    )
