"""From the form to an encoder: what it is, where its weights are, and the thing itself."""

import functools
import threading

from models.encoders.encoder import Encoder
from models.encoders.loading import load_published
from models.encoders.published import PublishedEncoder
from models.own_encoders.table import encoder_class
from tasks.parameters.retrieval import RetrievalParameters
from tasks.records.base import StoredFile
from tasks.records.classification import ClassifierRecord
from tasks.records.retrieval import EncoderRecord
from tasks.shared.published_encoders import locate_published, source_of, token_for
from tasks.storage.store import Store


def locate(parameters: RetrievalParameters) -> list[EncoderRecord]:
    """Find out what the published encoders of a form stand for, without loading them.

    Args:
        parameters: the form; a field with the name of an encoder may name another checkpoint of the same layout.

    Returns:
        The published ones among its encoders, pinned to a commit or to the digest of a folder's files.

    Raises:
        InputError: the files of one cannot be had.
    """
    return [
        locate_published(name, getattr(parameters, name, None), parameters.device)
        for name in parameters.encoders
        if issubclass(encoder_class(name), PublishedEncoder)
    ]


def describe(name: str, classifier: ClassifierRecord, *fitted: StoredFile) -> EncoderRecord:
    """Describe an encoder that is made here.

    Args:
        name: the encoder.
        classifier: the trained classifier, which the encoder may need.
        fitted: what its `fit` gave, if it fits anything.

    Returns:
        The encoder.
    """
    kind = encoder_class(name)
    weights = (classifier.weights, *fitted) if kind.needs_classifier else fitted
    return EncoderRecord(
        name=name,
        identity=kind.identify(*(file.sha256 for file in weights)),
        weights=weights,
        reads_text=kind.reads_text,
        licence=kind.licence,
    )


def load(record: EncoderRecord) -> Encoder:
    """Load an encoder, or take the one that this process has loaded before.

    Threads that ask at once wait for one loading: transformers changes its classes for as long as it loads.

    Args:
        record: what it is.

    Returns:
        The encoder.

    Raises:
        InputError: its files cannot be had or are damaged, or there is no such device.
    """
    with _loading:
        return _load(record.model_dump_json())


_loading = threading.Lock()


@functools.lru_cache(maxsize=2)  # a second search must not wait for the weights again; they take memory
def _load(description: str) -> Encoder:
    record = EncoderRecord.model_validate_json(description)
    kind = encoder_class(record.name)
    if issubclass(kind, PublishedEncoder):
        return load_published(source_of(record), record.device, token_for(kind))
    return kind(*map(Store().get, record.weights), device=record.device)
