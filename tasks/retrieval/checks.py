"""What the forms of retrieval and search must fulfil, checked before anything is computed."""

from models.errors import InputError
from models.own_encoders.table import encoder_class
from models.text import printable
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.search import SearchParameters
from tasks.records.retrieval import EncoderRecord, SearchableRecord
from tasks.retrieval.settings import STANDARD_K


def locate_encoders(parameters: RetrievalParameters) -> list[EncoderRecord]:
    """Find the published encoders of the form, before anything is trained.

    Raises:
        InputError: one cannot be had, or an encoder is named twice.
    """
    from tasks.retrieval import encoders

    if len(set(parameters.encoders)) < len(parameters.encoders):
        raise InputError(
            f"--retrieval.encoders {', '.join(parameters.encoders)}: one is named twice; name each encoder once."
        )
    return encoders.locate(parameters)


def check_cutoffs(parameters: RetrievalParameters, smallest: int | None) -> None:
    """Refuse cut-offs that a class of the test split is too small for, before anything is trained.

    Args:
        parameters: the form.
        smallest: number of images of the smallest class of the test split, where it is known.

    Raises:
        InputError: a cut-off is larger than what is left of that class without the query itself.
    """
    largest = max(*STANDARD_K, *parameters.k_values)
    if smallest is not None and largest > smallest - 1:
        raise InputError(
            f"--retrieval.k_values: k = {largest} neighbours are more than the smallest class of the test split can "
            f"give a query, {smallest - 1}; choose smaller ones (1, 5 and 10 are always taken), or raise "
            "--dataset.limit."
        )


def check_search(search: SearchParameters, searchable: SearchableRecord) -> None:
    """Refuse what cannot be searched for, before any weights are loaded.

    Raises:
        InputError: there is not exactly one query, or the dataset has no such image or class.
    """
    dataset = searchable.dataset
    given = [name for name in ("index", "image", "text") if getattr(search, name) is not None]
    if len(given) != 1:
        raise InputError(
            f"A search takes one of --search.index, --search.image and --search.text, but {len(given)} were given; "
            "give one."
        )
    if search.text is not None:
        if not search.text.strip():
            raise InputError("--search.text is empty: write what to look for, `chest X-ray of pneumonia` for instance.")
        encoder_class(search.encoder).require_text()
    count = dataset.counts[search.split]
    if search.index is not None and search.index >= count:
        raise InputError(
            f"--search.index {search.index}: the {search.split} split has the images 0 to {count - 1}; choose one."
        )
    if search.among_class != "both" and search.among_class not in dataset.labels:
        raise InputError(
            f"--search.among_class {search.among_class}: the classes of the dataset are "
            f"{printable(', '.join(dataset.labels))}; leave the class out to search all."
        )
