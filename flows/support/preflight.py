"""What is checked before anything is computed, so that a mistake costs seconds, not hours."""

from flows.support.runners import require_workers
from models.errors import InputError
from tasks.data.steps import (
    count_test_images,
    locate_source,
    require_one_label,
    require_reports,
    smallest_test_class,
    why_no_reports,
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
    """Check what the pipeline needs; about other images than chest X-rays it writes no reports.

    Returns:
        The published encoders of the form, None where the images have several labels each and are not searched; and
        what is to write the reports with what they are compared with, None where none are written.

    Raises:
        InputError: as `preflight_with_reports`, or reports are asked for that do not apply to the dataset.
    """
    if why_no_reports(dataset.name) is None:
        encoders, generator, references = preflight_with_reports(dataset, retrieval, reports, execution)
        return encoders, (generator, references)
    require_no_wish_for_reports(dataset, reports)
    _require_own_classifier(retrieval)
    if why_one_label_only(dataset.name):
        require_workers(execution)
        return None, None
    return preflight(dataset, retrieval, execution), None


def require_no_wish_for_reports(dataset: DatasetParameters, reports: ReportParameters) -> None:
    """Refuse a form that asks for reports of its own about images that none are written about.

    Raises:
        InputError: it names another generator than the template, or reports to compare with.
    """
    if why_no_reports(dataset.name) and (reports.generator != "template" or reports.references is not None):
        require_reports(dataset)


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
        InputError: something is missing, or does not fit, another classifier than the flow's own is asked for, or the
            dataset is none that reports are made for.
    """
    require_reports(dataset)
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
