"""From the form to a generator: what is to write, where its weights are, and whether this machine can run it."""

from models.errors import InputError
from models.report_generation.conventions import CONVENTIONS, release_of
from models.report_generation.generator import ReportGenerator
from models.report_generation.schema import CHEST_CLASSES
from models.report_generation.template import TemplateGenerator
from models.text import printable
from tasks.parameters.reports import ReportParameters
from tasks.records.data import DatasetRecord
from tasks.records.reports import GeneratorRecord


def locate(parameters: ReportParameters, token: str | None) -> GeneratorRecord:
    """Find out what is to write, without loading it.

    Args:
        parameters: the form.
        token: access token of the hub, or key of the server; or None.

    Returns:
        What was found: the commit or digest of the weights, and the precision that fits the device; or what the server
        says of itself and of its model.

    Raises:
        InputError: the weights cannot be had, or the device cannot run them; or the server does not answer.
    """
    if parameters.generator == "template":
        return GeneratorRecord(name="template")
    if parameters.generator == "openai":
        return _on_a_server(parameters, token)
    from models.report_generation.medgemma.source import resolve_source

    source = resolve_source(parameters.model, parameters.revision, token)
    from models.report_generation.medgemma.checkpoint import choose_device, choose_precision  # imports PyTorch

    device = choose_device(parameters.device)
    precision = choose_precision(parameters.precision, device)
    if parameters.compiled:
        from models.report_generation.medgemma.engine import require_compilable

        require_compilable(precision)
    release = release_of(parameters.model, parameters.conventions)
    published = CONVENTIONS[release]
    return GeneratorRecord(
        name="medgemma",
        strategies=tuple(parameters.strategies),
        model=source.model,
        revision=source.revision,
        random_weights=source.random_weights,
        precision=precision,
        device=device,
        image_first=published.image_first if parameters.image_first is None else parameters.image_first,
        conventions=release,
        thinking_tokens=parameters.thinking_tokens,
        path=source.path,
        at_once=parameters.at_once,
        token_block=parameters.token_block,
        compiled=parameters.compiled,
    )


def make(
    record: GeneratorRecord, dataset: DatasetRecord, classifier_sha256: str, token: str | None = None
) -> ReportGenerator:
    """Make the generator that was located.

    Args:
        record: what was found.
        dataset: the data that it writes about.
        classifier_sha256: digest of the weights behind the evidence.
        token: access token of the hub, or key of the server; or None. Needed only where reports are written.

    Returns:
        The generator; a language model is loaded when it writes its first row.

    Raises:
        InputError: the dataset's classes are none that the prompts ask about.
    """
    named = f"{dataset.title} {dataset.digest}"
    if record.name == "template":
        return TemplateGenerator(named, classifier_sha256, dataset.phantoms, dataset.labels)
    if dataset.labels != CHEST_CLASSES:
        raise InputError(
            f"The prompts speak of chest radiographs, {' or '.join(CHEST_CLASSES)}, but the classes of {dataset.name} "
            f"are {printable(', '.join(dataset.labels))}: choose pneumoniamnist, or the generator template."
        )
    if record.name == "openai":
        from models.report_generation.openai_server.generator import OpenAIGenerator
        from models.report_generation.openai_server.identification import ServedModel

        return OpenAIGenerator(
            served=ServedModel(str(record.server), str(record.server_version), str(record.model), record.revision),
            report_strategies=record.strategies,
            image_first=record.image_first,
            at_once=record.at_once,
            dataset=named,
            classifier_sha256=classifier_sha256,
            phantoms=dataset.phantoms,
            system=CONVENTIONS[record.conventions].system,  # type: ignore[index]
            key=token,
        )
    from models.report_generation.medgemma.generator import MedGemmaGenerator
    from models.report_generation.medgemma.source import Source

    return MedGemmaGenerator(
        source=Source(str(record.model), str(record.revision), record.path, record.random_weights),
        precision=record.precision,  # type: ignore[arg-type]
        device=record.device,
        report_strategies=record.strategies,
        image_first=record.image_first,
        conventions=record.conventions,  # type: ignore[arg-type]
        thinking_tokens=record.thinking_tokens,
        batch_size=record.at_once,
        dataset=named,
        classifier_sha256=classifier_sha256,
        phantoms=dataset.phantoms,
        token=token,
        compiled=record.compiled,
    )


def _on_a_server(parameters: ReportParameters, key: str | None) -> GeneratorRecord:
    from models.report_generation.openai_server.identification import identify

    if parameters.server is None:
        raise InputError(
            "The generator openai needs the address of a server: give --reports.server, http://127.0.0.1:8000/v1 for "
            "instance, or choose another generator."
        )
    served = identify(parameters.server, parameters.model, key)
    release = release_of(parameters.model, parameters.conventions)
    published = CONVENTIONS[release]
    return GeneratorRecord(
        name="openai",
        strategies=tuple(parameters.strategies),
        model=served.model,
        revision=served.revision,
        server=served.server,
        server_version=served.version,
        device="server",
        image_first=published.image_first if parameters.image_first is None else parameters.image_first,
        conventions=release,
        at_once=parameters.at_once,
        key_block=parameters.key_block,
    )
