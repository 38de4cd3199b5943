"""Search: one image of the dataset, one image file or one text → its nearest cases."""

import re
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.support.naming import run_name
from flows.support.page import Page
from flows.support.terminal import print_line, print_table
from models.notices import PHANTOM_NOTICE
from tasks.data.steps import read_picture, require_one_label
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.search import SearchParameters
from tasks.records.retrieval import SearchRecord
from tasks.retrieval.checks import check_search
from tasks.retrieval.published.publication import find_published
from tasks.retrieval.search_result import SearchResult, describe_shares
from tasks.retrieval.steps.search import search_cases
from tasks.storage.locations import outputs
from tasks.storage.store import Store

_SEARCH = SearchParameters()


@flow(name="search", flow_run_name=run_name)
@in_plain_words
def search(search: SearchParameters = _SEARCH) -> SearchRecord:
    """Find the cases that are most like an image of the dataset, an image file or a text."""
    require_one_label(search.dataset, "search for similar cases")
    searchable = find_published(search.encoder, search.dataset)
    search = search.with_query()
    check_search(search, searchable)
    picture = (
        None
        if search.image is None
        else read_picture(search.image, searchable.dataset.size, searchable.dataset.channels)
    )
    # The picture counts by its content, not by where it lies.
    found = search_cases(searchable, search.model_copy(update={"image": None}), picture)
    report = Store().get(found.document).decode()
    Page("search", {}, figures={"nearest_cases": found.gallery}, report=report).show()
    _print(found, _write(found))
    return found


def _write(found: SearchRecord) -> Path:
    """Put the result where a person finds it."""
    name = re.sub(r"[^\w·#:,. -]", " ", str(flow_run.name)).strip(". ")[:80]  # which a person may have chosen
    store, folder = Store(), outputs() / "searches" / (name or "search") / str(flow_run.id)[:8]
    folder.mkdir(parents=True, exist_ok=True)
    for name, stored in {
        "result.json": found.result,
        "gallery.png": found.gallery,
        "report.md": found.document,
    }.items():
        (folder / name).write_bytes(store.get(stored))
    return folder


def _print(found: SearchRecord, folder: Path) -> None:
    written = Store().get_json(found.result)
    result = SearchResult.model_validate({name: value for name, value in written.items() if name != "class_shares"})
    print_table(
        [(name, "left") for name in ("rank", "image", "class", result.measure)],
        [(hit.rank, hit.title, result.label_of(hit), hit.closeness) for hit in result.hits],
        title=f"nearest to {result.query.name}",
    )
    if result.phantoms:
        print_line(PHANTOM_NOTICE, style="bold red")
    print_line(describe_shares(result))
    print_line(str(result.index))
    print_line(f"Gallery and JSON: {folder}")
    print_line(result.notice)


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(search))
