"""From the form to an encoder: what it is, where its weights are, and the thing itself."""

import functools
import threading

from models.encoders.catalogue import TEXT_ENCODERS
from models.encoders.encoder import Encoder
from models.encoders.source import EncoderSource, published_model, resolve_source
from models.errors import InputError
from tasks.parameters.retrieval import RetrievalParameters
from tasks.records.classification import ClassifierRecord
from tasks.records.retrieval import EncoderRecord
from tasks.storage.store import Store

OWN_LICENCE = "Apache-2.0, and that of the data which it was trained on"


def locate(name: str, parameters: RetrievalParameters) -> EncoderRecord:
    """Find out what a published encoder's name stands for, without loading it.

    Args:
        name: one of `TEXT_ENCODERS`.
        parameters: the form, which may name another checkpoint of the same class.

    Returns:
        The encoder, pinned to a commit or to the digest of a folder's files.

    Raises:
        InputError: its files cannot be had.
    """
    published = published_model(name)
    wanted = getattr(parameters, name)
    source = resolve_source(name, wanted)  # type: ignore[arg-type]  # `published_model` has checked the name
    return EncoderRecord(
        name=name,
        identity=source.identity,
        model=source.model,
        revision=source.revision,
        reads_text=True,
        licence=published.licence if wanted == published.model else "",
        path=source.path,
        device=parameters.device,
    )


def of_classifier(classifier: ClassifierRecord) -> EncoderRecord:
    """Describe the classifier without its head as an encoder.

    Args:
        classifier: the classifier.

    Returns:
        The encoder.
    """
    identity = f"classifier sha256:{classifier.weights.sha256}"
    return EncoderRecord(name="classifier", identity=identity, weights=(classifier.weights,), licence=OWN_LICENCE)


def require_text(name: str) -> None:
    """Refuse an encoder that reads no text.

    Raises:
        InputError: it reads none.
    """
    if name not in TEXT_ENCODERS:
        raise InputError(f"The encoder {name} reads no text; text queries need one of {', '.join(TEXT_ENCODERS)}.")


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
    payloads = [Store().get(weights) for weights in record.weights]
    if record.name == "classifier":
        from models.encoders.classifier import ClassifierEncoder

        return ClassifierEncoder(*payloads, device=record.device)
    if record.name == "metric":
        from models.encoders.metric import MetricEncoder

        return MetricEncoder(*payloads, device=record.device)
    from models.encoders.loading import load_source

    source = EncoderSource(record.name, record.model, record.revision, record.path)  # type: ignore[arg-type]
    if record.revision.startswith("sha256:"):  # a folder's files may have changed since
        source = resolve_source(source.name, source.path, source.revision)
    return load_source(source, device=record.device)
