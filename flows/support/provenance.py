"""What the run of a stage says of where its results come from: the dataset, the encoder, the generator of reports."""

from prefect.logging import get_run_logger

from models.notices import PHANTOM_NOTICE, RANDOM_ENCODER_NOTICE, RANDOM_WEIGHTS_NOTICE
from tasks.records.base import RunReference
from tasks.records.data import DatasetRecord
from tasks.records.reports import GeneratorRecord
from tasks.records.retrieval import EncoderRecord
from tasks.tracking import runs

_GENERATOR_FACTS = ("name", "model", "revision", "precision", "device", "conventions", "server", "server_version")


def log_dataset(run: RunReference, dataset: DatasetRecord, context: str) -> None:
    """Log which data a run uses, and say so in tags where they were drawn or are a part of the file.

    Args:
        run: the run.
        dataset: the dataset.
        context: what it is used for: `training`, `evaluation`.
    """
    source, profile = {"path": dataset.source}, {"images": dataset.counts}
    runs.log_dataset(
        run, dataset.title, dataset.digest, kind=dataset.kind, source=source, profile=profile, context=context
    )
    tags = {"dataset.sha256": dataset.sha256, "dataset.kind": dataset.kind}
    if dataset.limit is not None:
        tags["dataset.limit"] = str(dataset.limit)
    if dataset.corrected:
        tags["dataset.corrected"] = str(dataset.corrected)
    runs.log_tags(run, tags)
    if dataset.phantoms:
        _notice(run, "phantoms", PHANTOM_NOTICE)


def log_encoder(run: RunReference, encoder: EncoderRecord) -> None:
    """Say what makes a run's vectors: the name as a param, to compare runs by, the rest and random weights in tags."""
    runs.log_params(run, {"encoder": encoder.name})
    runs.log_tags(run, {"encoder.identity": encoder.identity, "encoder.licence": encoder.licence or "unknown"})
    if encoder.random_weights:
        _notice(run, "random_weights", RANDOM_ENCODER_NOTICE)


def log_generator(run: RunReference, generator: GeneratorRecord) -> None:
    """Say in tags what writes a run's reports, and that its weights are random where they are."""
    facts = {name: getattr(generator, name) for name in _GENERATOR_FACTS}
    runs.log_tags(run, {f"generator.{name}": value for name, value in facts.items() if value is not None})
    if generator.random_weights:
        _notice(run, "random_weights", RANDOM_WEIGHTS_NOTICE)


def _notice(run: RunReference, tag: str, notice: str) -> None:
    runs.log_tags(run, {tag: notice})
    get_run_logger().warning(notice)
