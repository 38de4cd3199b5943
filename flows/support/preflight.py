"""What is checked before anything is computed, so that a mistake costs seconds, not hours."""

from flows.support.runners import require_workers
from models.errors import InputError
from tasks.data.steps import (
    count_test_images,
    locate_source,
    require_one_label,
    require_prompts,
    smallest_test_class,
    why_one_label_only,
)
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.records.reports import GeneratorRecord, ReferencesRecord
from tasks.records.retrieval import EncoderRecord
from tasks.reports.steps.planning import locate_generator, locate_references
from tasks.retrieval.checks import check_cutoffs, locate_encoders


def preflight(
    dataset: DatasetParameters, retrieval: RetrievalParameters, execution: ExecutionParameters
) -> list[EncoderRecord]:
    """Check what the retrieval needs: the dataset, cut-offs that its classes allow, workers and encoders.

    Returns:
        The published encoders of the form.

    Raises:
        InputError: something is missing, or does not fit.
    """
    require_one_label(dataset.name, "search for similar cases")
    check_cutoffs(retrieval, smallest_test_class(locate_source(dataset), dataset.limit))
    require_workers(execution)
    return locate_encoders(retrieval)


def preflight_pipeline(
    dataset: DatasetParameters,
    retrieval: RetrievalParameters,
    reports: ReportParameters,
    execution: ExecutionParameters,
) -> tuple[list[EncoderRecord] | None, tuple[GeneratorRecord, ReferencesRecord | None] | None]:
    """Check what the pipeline needs; images of several labels each are not searched, and no reports are written.

    Returns:
        The published encoders of the form, None where the images have several labels each and are not searched; and
        what is to write the reports with what they are compared with, None where none are written.

    Raises:
        InputError: as `preflight_with_reports`, or reports are asked for that do not apply to the dataset.
    """
    if why_one_label_only(dataset.name):
        require_template(dataset, reports)
        _require_own_classifier(retrieval)
        require_workers(execution)
        return None, None
    encoders, generator, references = preflight_with_reports(dataset, retrieval, reports, execution)
    return encoders, (generator, references)


def require_template(dataset: DatasetParameters, reports: ReportParameters) -> None:
    """Refuse a form that asks for more than the template about images that are no chest X-rays.

    Raises:
        InputError: it names another generator than the template, or reports to compare with.
    """
    if reports.generator != "template":
        require_prompts(dataset.name, f"--reports.generator {reports.generator}")
    if reports.references is not None:
        require_prompts(dataset.name, "--reports.references")


def preflight_with_reports(
    dataset: DatasetParameters,
    retrieval: RetrievalParameters,
    reports: ReportParameters,
    execution: ExecutionParameters,
) -> tuple[list[EncoderRecord], GeneratorRecord, ReferencesRecord | None]:
    """Check what a flow needs that trains a classifier, searches with it and has reports written.

    Returns:
        The published encoders of the form, what is to write the reports, and what they are compared with, if anything.

    Raises:
        InputError: something is missing, or does not fit, another classifier than the flow's own is asked for, or more
            than the template about images that are no chest X-rays.
    """
    require_template(dataset, reports)
    _require_own_classifier(retrieval)
    encoders = preflight(dataset, retrieval, execution)
    references = locate_references(reports, count_test_images(locate_source(dataset), dataset.limit))
    return encoders, locate_generator(reports), references


def _require_own_classifier(retrieval: RetrievalParameters) -> None:
    if retrieval.classifier != "train":
        raise InputError(
            f"--retrieval.classifier {retrieval.classifier}: this flow searches with the classifier that it trains; "
            "leave `train`, or run the retrieval flow alone."
        )
